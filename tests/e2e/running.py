"""A real service (`heldout up`) in its own folder, its processes, and its responses."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from heldout.client.client import Client
from heldout.views.job import JobView

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.03, 0.25


def until(
    condition: Callable[[], Any], what: str, within_s: float = PATIENCE_S, longest_pause_s: float = LONGEST_PAUSE_S
) -> Any:
    """Wait until `condition` returns something true, and return that.

    It checks less often the longer it waits, because the awaited work needs the processor too.
    """
    deadline, pause_s = time.monotonic() + within_s, FIRST_PAUSE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(pause_s)  # a poll of something real, not a guess of how long it takes
        pause_s = min(1.2 * pause_s, longest_pause_s)
    raise AssertionError(f"{what} did not happen within {within_s:.0f} s.")


def children_of(pid: int) -> list[int]:
    """List the processes whose parent is `pid`, from /proc."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(folder.name))
    return found


def tree_of(pid: int) -> list[int]:
    """Return `pid` and all processes below it."""
    return [pid] + [below for child in children_of(pid) for below in tree_of(child)]


def lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def processes_of(folder: Path) -> list[int]:
    """List the processes whose environment, command or working folder names the folder: a service's home,
    for example.
    """
    mark, found = os.fsencode(folder), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            here = os.fsencode((process / "cwd").readlink())
            named = (here, (process / "environ").read_bytes(), (process / "cmdline").read_bytes())
            if any(mark in text for text in named) and int(process.name) != os.getpid():
                found.append(int(process.name))
    return found


def freeze(pid: int) -> None:
    """Send SIGSTOP and wait until all threads have stopped: on a busy machine they keep running for a while."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: _is_stopped(pid), f"the stop of {pid}")


def _is_stopped(pid: int) -> bool:
    states = []
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # it has ended
            states.append(thread.read_text().rpartition(")")[2].split()[0])
    return set(states) <= {"T", "t", "Z", "X"}


def processor_s(pid: int) -> float:
    """Return the processor seconds of a process, including its children that have ended.

    Raises: OSError if there is no such process.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


# A calibration, a search for wrong labels or a proof would take the cores of what is tested.
UNDISTURBED = {
    "HELDOUT_CALIBRATE": "false",
    "HELDOUT_CHECK_LABELS": "false",
    "HELDOUT_PRETRAINED": "none",
    "HELDOUT_PROVE_IDLE_S": "0",
}


class Service:
    """`heldout up` as a user starts it."""

    def __init__(self, home: Path, *arguments: str, **environment: str) -> None:
        self.home = home
        self._arguments = arguments
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.output = home.parent / f"{home.name}.out"

    def begin(self) -> None:
        """Start the service without waiting until it is ready."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HELDOUT_")}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api", "up", "--home", str(self.home), "--port", "0", *self._arguments],
                cwd=ROOT,
                env=kept | UNDISTURBED | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=0o022,  # as most users have it
            )

    def start(self) -> "Service":
        self.begin()
        process = self.process
        assert process is not None
        until(lambda: (self.home / "service.json").exists() or process.poll() is not None, "the start")
        assert process.poll() is None, self.output.read_text()
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def url(self) -> str:
        return str(json.loads((self.home / "service.json").read_text())["url"])

    @property
    def metrics_port(self) -> int:
        """The port of its worker's metrics."""
        return int(self._environment["HELDOUT_METRICS_PORT"])

    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def client(self) -> Client:
        return Client(self.url, (self.home / "api-key").read_text().strip())

    def worker_pid(self) -> int:
        """Return the worker's process once it runs."""
        return int(until(lambda: [p for p in children_of(self.pid) if b"worker.local" in command_of(p)], "a worker")[0])

    def training_pids(self) -> list[int]:
        """List the processes that train: children of the server that forks."""
        return [
            child
            for server in children_of(self.worker_pid())
            if b"forkserver" in command_of(server)
            for child in children_of(server)
        ]

    def ingesting_pids(self) -> list[int]:
        """List the processes that ingest uploads: children of the worker."""
        return self._pids_of(b"ingest")

    def relating_pids(self) -> list[int]:
        """List the processes that find copies in stored datasets: children of the worker."""
        return self._pids_of(b"relate")

    def _pids_of(self, work: bytes) -> list[int]:
        started_by = b"worker.ingest.child\0" + work
        return [child for child in children_of(self.worker_pid()) if started_by in command_of(child)]

    def kill(self) -> None:
        """Kill the service without warning, like a power cut."""
        if self.process is not None:
            for pid in tree_of(self.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(60)
            (self.home / "service.json").unlink(missing_ok=True)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the service to stop, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def close(self) -> None:
        """Kill everything that still runs: the service first, because its processes then end by themselves."""
        if self.lives():
            below = tree_of(self.pid)
            os.kill(self.pid, signal.SIGKILL)
            until(lambda: not any(map(lives, below)), "the end of all processes", within_s=60)
        self.kill()


def command_of(pid: int) -> bytes:
    """Return the command line, its words separated by NUL. It is empty for a process that is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def spec(example: str = "overfit", **changes: Any) -> dict[str, Any]:
    """Return a reference spec with some fields of its training changed."""
    read: dict[str, Any] = json.loads((ROOT / "examples" / f"{example}.json").read_text())
    read["training"] |= changes
    return read


def wait_for_end(client: Client, job_id: str, within_s: float = PATIENCE_S) -> JobView:
    """Wait for the job's end, and return the job."""
    return until(lambda: (job := client.jobs.get(job_id)).has_ended and job, f"the end of {job_id}", within_s)


def wait_for_epoch(client: Client, job_id: str, epoch: int) -> None:
    """Wait until this many complete epochs are served."""
    until(lambda: client.jobs.get(job_id).progress.epoch >= epoch, f"epoch {epoch} of {job_id}")


def history(client: Client, job_id: str) -> list[dict[str, Any]]:
    """Return the served epochs without what depends on the clock."""
    clocks = {"seconds", "evaluation_seconds", "images_per_second"}
    return [epoch.model_dump(exclude=clocks) for epoch in client.jobs.metrics(job_id).epochs]


def list_label_reads(service: "Service", job_id: str) -> list[tuple[str, int, str]]:
    """List split, epoch and kind of each look of a job at held-out labels, in order, by raw SQL."""
    query = "SELECT split, epoch, what FROM label_reads WHERE subject_id = ? ORDER BY split, epoch"
    with closing(sqlite3.connect(service.home / "heldout.db")) as database:
        return [tuple(row) for row in database.execute(query, (job_id,))]


def make_validation_reads(epochs: int, what: str = "measured") -> list[tuple[str, int, str]]:
    """Return the looks at validation of a job with this many epochs."""
    return [("validation", epoch, what) for epoch in range(1, epochs + 1)]


def event_types(client: Client, job_id: str) -> list[str]:
    return [event.type for event in client.jobs.events(job_id)]


def figures_of(script: Path, *arguments: Path) -> dict[str, list[float]]:
    """Return the output of a job's script for each split, run in a process without anything of this repository."""
    command = [sys.executable, "-I", str(script), *map(str, arguments)]
    ran = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines() if line.startswith(("train ", "validation ", "test "))]
    return {split: list(map(float, figures)) for split, *figures in lines}


def assert_trained_again(client: Client, job: str, script: Path, *arguments: Path) -> None:
    """Check that a job's script reproduces the job's figures from the same files."""
    final = client.jobs.metrics(job).final
    for split, (loss, of_the_job, accuracy, accuracy_of_the_job) in figures_of(script, *arguments).items():
        expected = getattr(final, split)
        assert (of_the_job, accuracy_of_the_job) == pytest.approx((expected.loss, expected.accuracy), abs=6e-5)
        assert (loss, accuracy) == pytest.approx((of_the_job, accuracy_of_the_job), abs=0.01)
