"""The steps of the demonstration: start a service, train, compare, say what is wrong, measure a cure, clean up."""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, cast

from heldout.cli.progress import Follower, display
from heldout.cli.screen import Table, prepare, print_fields, say, say_prose, terminal_width
from heldout.client.client import ApiProblem, Client, NoService
from heldout.demo.cure import REMEDIES, measure_cure, show_cure
from heldout.demo.interrupts import Interrupted, Interrupts
from heldout.demo.report import HEADINGS, RIGHT, Trained, explain_gaps, explain_overfitting, row_of, verdict_of
from heldout.demo.service import ROOT, ServiceFailed, TemporaryService
from heldout.views.job import JobView

SPECS = ("overfit", "regularized", "augmented")
# The three specs hardly overfit on thousands of digits; this one overfits, on 500.
OVERFITTING = ("memorising", "overfit", {"epochs": 40, "train_limit": 500})
# Where `make clean` removes it; the service and what it has stored are gone at the end.
REPORT = ROOT / "build" / "demo-report.html"
POLL_S = 0.25
MAX_TRAINING_S = 1200.0


def main(*, stack: bool = False) -> int:
    """Run it all; gives 0 if every job succeeded, 1 if not, and 128 + the signal's number if one ended it."""
    interrupts = Interrupts()
    prepare()
    if not (ROOT / "examples").is_dir():
        _print_error("heldout: the demonstration needs a checkout of the repository; `make demo` runs it there.")
        return 2
    service, status = None, 1
    try:
        service = TemporaryService(stack=stack)
        service.start()
        with interrupts.allowed():
            status = _demonstrate(service)
    except Interrupted:
        _print_error("\nInterrupted: ending the service …")
    except BrokenPipeError:
        status = 141
    except (ServiceFailed, ApiProblem, NoService, OSError) as failure:
        _print_error(f"heldout: {failure}")
    finally:
        if service is not None:
            service.stop(hurry=_Hurry(interrupts))
    return interrupts.close(status)


class _Hurry:
    """Whether one more signal has come since the end began."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._before = len(interrupts.signals)

    def __call__(self) -> bool:
        return len(self._interrupts.signals) > self._before


def _demonstrate(service: TemporaryService) -> int:
    specs = {name: _example(name) for name in SPECS}
    name, base, changes = OVERFITTING
    fourth = specs[base] | {"name": name, "training": specs[base]["training"] | changes}
    say(f"Starting a service in {service.folder}, which is removed at the end …")
    found = service.wait_until_ready()
    say(f"It answers at {found.url}. Training three networks on the 5,000 MNIST digits of `mnist5k`, and one on 500.")
    with Client(found.url, found.api_key, patience_s=10.0) as client:
        try:
            *jobs, last = _train(client, {**specs, name: fourth}, service)
            statuses = [_report(client, jobs), _report_diagnosis(client, last)]
            return max(*statuses, _cure(client, last))
        except NoService as failure:
            service.require_alive()
            raise service.failed(str(failure)) from None


def _example(name: str) -> dict[str, Any]:
    """A reference spec, in one tower: a machine with several cores would use two, which changes the last digits."""
    spec = json.loads((ROOT / "examples" / f"{name}.json").read_text("utf-8"))
    return cast(dict[str, Any], spec | {"resources": {"towers": 1}})


def _train(client: Client, specs: Mapping[str, Any], service: TemporaryService) -> list[JobView]:
    """Submit the specs and show their jobs until all have ended; gives them back as they are then, in order."""
    jobs = {job.id: job for job in (client.submit(spec) for spec in specs.values())}
    deadline = time.monotonic() + MAX_TRAINING_S
    with display(max(map(len, specs))) as shown:
        followers = {job_id: Follower(client, shown) for job_id in jobs}
        for job_id, job in jobs.items():
            followers[job_id].show(job)
        while any(not job.has_ended for job in jobs.values()):
            if time.monotonic() > deadline:
                raise service.failed(f"The jobs did not end within {MAX_TRAINING_S / 60:.0f} minutes.")
            time.sleep(POLL_S)
            for job in sorted(islice(client.jobs(page_size=len(jobs)), len(jobs)), key=lambda job: job.id):
                if job.version != jobs[job.id].version:
                    followers[job.id].show(job)
                    jobs[job.id] = job
    return list(jobs.values())


def _report(client: Client, jobs: list[JobView]) -> int:
    trained, verdicts = [], []
    for job in jobs:
        metrics = client.metrics(job.id)
        final = metrics.final
        if job.status == "succeeded" and final is not None and final.test is not None:
            trained.append(Trained(job, final, final.test))
            verdicts.append(verdict_of(trained[-1], client.diagnosis(job.id), metrics.epochs))
        else:
            _say_why_not(job)
    if trained:
        say("")
        _print_results([row_of(one) for one in trained])
        say("")
        for sentence in [*explain_gaps(trained), *verdicts]:
            say_prose(sentence)
    return 0 if len(trained) == len(SPECS) else 1


def _report_diagnosis(client: Client, job: JobView) -> int:
    """Why the fourth job's test results are worse, as the service says it."""
    if job.status != "succeeded":
        _say_why_not(job)
        return 1
    say("")
    for sentence in explain_overfitting(client.diagnosis(job.id), job):
        say_prose(sentence)
    return 0


def _cure(client: Client, job: JobView) -> int:
    """Measure which remedy closes the fourth job's gap."""
    if job.status != "succeeded":
        return 1
    say("")
    say_prose(f"Measuring what cures {job.name}: trains it anew as it is, and with {', '.join(REMEDIES)} …")
    study = measure_cure(client, job.id)
    say("")
    return show_cure(client, study, REPORT)


def _say_why_not(job: JobView) -> None:
    why = f"{job.error.code}: {job.error.detail}" if job.error else job.status
    say(f"{job.name} did not succeed: {why}", file=sys.stderr)


def _print_results(rows: list[tuple[str, ...]]) -> None:
    """A row for each job where that fits, else a column, else a list."""
    turned = list(zip(HEADINGS, *rows, strict=True))
    for table in (Table(HEADINGS, rows, RIGHT), Table(turned[0], turned[1:])):
        if max(map(len, table.lines)) <= terminal_width():
            for line in table.lines:
                say(line)
            return
    for row in rows:
        print_fields(list(zip(HEADINGS, row, strict=True)))
        say("")


def _print_error(text: str) -> None:
    """Say it if anyone still listens."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
