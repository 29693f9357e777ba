"""Train networks on real digits through the API, say why one is poor on unseen images, and measure what cures it.

`make demo` runs it against `heldout up` in a temporary folder; `make demo-stack` against PostgreSQL, a broker and two
Celery workers.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Self

from heldout.cli.progress import Follower, display, follow_study, make_study_display
from heldout.cli.screen import Table, prepare, say, say_prose
from heldout.client.client import ApiProblem, Client, NoService
from heldout.client.locate import read_key_file, read_service_file
from heldout.documents.arms import tabulate_study
from heldout.documents.terminal import write_table
from heldout.parent_process import build_launch_command
from heldout.stored.results import FinalView
from heldout.views.job import JobView
from heldout.views.study import StudyView
from heldout.words import percent
from heldout.words.labels import get_verdict_name
from heldout.words.studies import explain_test

ROOT = Path(__file__).resolve().parent.parent
# The first three hardly overfit on thousands of digits. The last one, with a large dense layer, memorizes 200.
SPECS = ("overfit", "regularized", "augmented", "memorizing")
# Where `make clean` removes it; the service and what it has stored are gone at the end.
REPORT = ROOT / "build" / "demo-report.html"
HEADINGS = ("JOB", "PARAMETERS", "TRAINING", "VALIDATION", "TEST", "VERDICT")
RIGHT = (1, 2, 3, 4)
POLL_S = 0.25
STARTS_WITHIN_S = 180.0
ENDS_WITHIN_S = 15.0
LOG_LINES = 12
# Sockets of processes that fork lie below it, and their paths may have about 100 bytes.
LONGEST_FOLDER = 45
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ServiceFailed(Exception):
    """The service did not start or did not last; the text has the last lines of its logs."""


class Interrupted(BaseException):
    """A signal asked for the end."""


class TemporaryService:
    """`heldout up` in a folder of its own, on a free port, without the caller's settings.

    It leads a process group of its own, so that Ctrl-C reaches only the caller, and it ends with its parent.
    """

    def __init__(self) -> None:
        usual = tempfile.gettempdir()
        parent = usual if len(usual) <= LONGEST_FOLDER else "/tmp"
        self.folder = Path(parent, f"heldout-demo-{os.urandom(4).hex()}")
        self.url = self.api_key = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDS_WITHIN_S)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for _ in range(20):  # the last of its processes may still write
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(0.1)

    def _start(self) -> None:
        home = self.folder / "home"
        for folder in (self.folder, home, self.folder / "tmp"):
            folder.mkdir(mode=0o700)
        command = [sys.executable, "-P", "-m", "api", "up", "--port", "0", "--home", str(home)]
        with (self.folder / "service.log").open("wb") as log:
            self._process = subprocess.Popen(
                build_launch_command(command, signal.SIGTERM),
                cwd=self.folder,
                env=self._environment(home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while (found := read_service_file(home)) is None or (key := read_key_file(home)) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                logs = [self.folder / "service.log", *sorted((home / "logs").glob("*.log"))]
                tails = [line for log in logs for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]]
                raise ServiceFailed("\n  ".join(["The service did not start:", *tails]))
            time.sleep(0.05)
        self.url, self.api_key = found[0], key

    def _environment(self, home: Path) -> dict[str, str]:
        """The caller's environment without what would lead the service elsewhere; what it caches goes to the folder."""
        ambient = {"DATABASE_URL", "REDIS_URL", "PORT", "LOG_LEVEL", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HELDOUT_") and k not in ambient}
        return kept | {
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            "KERAS_HOME": str(home / "keras"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "TMPDIR": str(self.folder / "tmp"),
            "HELDOUT_DATASETS": str(home / "datasets"),  # only what comes in wheels is needed
        }


@contextmanager
def serve(*, stack: bool) -> Iterator[tuple[str, str]]:
    """A service for the block: its URL and a key."""
    if not stack:
        service = TemporaryService()
        say(f"Starting a service in {service.folder}, which is removed at the end …")
        with service:
            yield service.url, service.api_key
        return
    from tests.e2e.stack import stack_on  # the tests' own: made for harm, and for this
    from tests.servers import PostgresServer, RedisServer

    with (
        tempfile.TemporaryDirectory(prefix="heldout-demo-", ignore_cleanup_errors=True) as folder,
        PostgresServer() as postgres,
        RedisServer() as broker,
        stack_on(Path(folder), postgres, broker) as running,
    ):
        say(f"Starting an API and two workers in {folder}, which is removed at the end …")
        running.start(workers=2)
        yield running.url, running.key


def main(*, stack: bool) -> int:
    """Run it all; gives 0 if every job succeeded, 1 if not, and 128 + the signal's number if one ended it."""
    prepare()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks
            signal.signal(number, _interrupt)
    try:
        with serve(stack=stack) as (url, key), Client(url, key, patience_s=10.0) as client:
            try:
                return demonstrate(client)
            finally:
                _ignore_signals()
    except Interrupted as interrupt:
        print("\nInterrupted: ending the service …", file=sys.stderr, flush=True)
        return 128 + int(interrupt.args[0])
    except (ServiceFailed, ApiProblem, NoService, OSError) as failure:
        print(f"heldout: {failure}", file=sys.stderr, flush=True)
        return 1


def _interrupt(number: int, frame: object) -> None:
    """End once: what follows is cleaning up, which no signal may cut off."""
    _ignore_signals()
    raise Interrupted(number)


def _ignore_signals() -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def demonstrate(client: Client) -> int:
    """Train the reference specs and one that memorizes, compare them, and measure a cure; gives the exit status."""
    say("Training three networks on the 5,000 MNIST digits of `mnist5k`, and one on 200 of them.")
    jobs = _train(client, [_read_example(name) for name in SPECS])
    failed = [job for job in jobs if job.status != "succeeded"]
    for job in failed:
        why = f"{job.error.code}: {job.error.detail}" if job.error else job.status
        say(f"{job.name} did not succeed: {why}", file=sys.stderr)
    if failed:
        return 1
    say("")
    for line in Table(HEADINGS, [_build_row(client, job) for job in jobs], RIGHT).lines:
        say(line)
    last = jobs[-1]
    say("")
    diagnosis = client.jobs.diagnosis(last.id)
    say_prose(f"{last.name}: {diagnosis.headline} {diagnosis.summary}")
    order = {"job": last.id}  # a first answer: at most four networks of three seeds, then two fresh seeds of the best
    remedies = client.studies.estimate(order).remedies
    say_prose(f"Measuring what helps: training it again as it is, and with {', '.join(remedies)}.")
    ordered = client.studies.create(order)
    return _show_cure(client, follow_study(client, ordered.id, make_study_display()))


def _read_example(name: str) -> dict[str, Any]:
    """A reference spec, in one tower: a machine with several cores would use two, which changes the last digits."""
    spec: dict[str, Any] = json.loads((ROOT / "examples" / f"{name}.json").read_text("utf-8"))
    return spec | {"resources": {"towers": 1}}


def _train(client: Client, specs: list[dict[str, Any]]) -> list[JobView]:
    """Submit the specs and show their jobs until all have ended; gives them back as they are then, in order."""
    jobs = {job.id: job for job in (client.jobs.create(spec) for spec in specs)}
    with display(max(len(spec["name"]) for spec in specs)) as shown:
        followers = {job_id: Follower(client, shown) for job_id in jobs}
        for job_id, job in jobs.items():
            followers[job_id].show(job)
        while any(not job.has_ended for job in jobs.values()):
            time.sleep(POLL_S)
            for job in sorted(islice(client.jobs.list(page_size=len(jobs)), len(jobs)), key=lambda job: job.id):
                if job.version != jobs[job.id].version:
                    followers[job.id].show(job)
                    jobs[job.id] = job
    return list(jobs.values())


def _build_row(client: Client, job: JobView) -> tuple[str, ...]:
    """One job's row under HEADINGS: accuracies of the kept weights, without dropout and augmentation."""
    final = client.jobs.metrics(job.id).final
    assert isinstance(final, FinalView)
    assert final.validation is not None
    assert final.test is not None
    accuracies = (split.accuracy for split in (final.train, final.validation, final.test))
    return (
        job.name,
        f"{job.parameters:,}",
        *map(percent, accuracies),
        get_verdict_name(client.jobs.diagnosis(job.id).verdict),
    )


def _show_cure(client: Client, study: StudyView) -> int:
    """Print the answer and the differences in about ten lines, and write the report; 0 if the study has succeeded."""
    say("")
    if study.status != "succeeded" or study.conclusion is None:
        why = study.status if study.error is None else f"{study.error.code}: {study.error.detail}"
        say(f"The study did not succeed: {why}", file=sys.stderr)
        return 1
    say_prose(f"{study.headline} {study.summary}")
    if (test := study.conclusion.test) is not None:
        say_prose(explain_test(test, None))
    if (table := tabulate_study(study)) is not None:
        for line in write_table(table):
            say(line)
    page = client.studies.report_text(study.id, "text/html")
    with suppress(OSError):  # the folder may be read-only
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(page, encoding="utf-8")
        say(f"All of it with pictures, as one page: {REPORT}")
    return 0


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--stack"]):
        sys.exit("usage: python -m examples.demo [--stack]")
    raise SystemExit(main(stack=bool(sys.argv[1:])))
