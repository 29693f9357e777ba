"""`heldout mlflow` and `heldout tensorboard`: jobs as runs of MLflow, and as logs that TensorBoard reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import Service, make_argument
from heldout.cli.outcome import Exit, Refused
from heldout.cli.references import JOB, STUDY, Names
from heldout.cli.screen import print_json, say

if TYPE_CHECKING:
    from heldout.cli.mlflow_tracking import Tracking
    from heldout.client.client import Client
    from heldout.views.job import JobView

_ENDS = {"job.succeeded", "job.failed", "job.cancelled"}
# How often the others are checked while the first of several jobs is waited for.
LOOK_AGAIN_S = 10

_SUBJECTS = "Jobs, or studies with all of their jobs: ids, beginnings of ids, names, or last."


def collect_jobs(client: Client, subjects: Sequence[str]) -> list[JobView]:
    """Return the jobs, those of studies oldest first, each once.

    Raises:
        ApiProblem: if one of them does not exist.
    """
    found: dict[str, JobView] = {}
    for subject in subjects:
        if subject.startswith("std_"):
            client.studies.get(subject)  # a study that does not exist is an error, not a study without jobs
            found |= {job.id: job.view for job in reversed(list(client.jobs.list(study=subject)))}
        else:
            job = client.jobs.get(subject).view
            found[job.id] = job
    return list(found.values())


def follow_all(client: Client, jobs: Sequence[JobView], act: Callable[[JobView], None]) -> list[JobView]:
    """Call `act` with each job, first and after each change, until all have ended; returns the ended jobs."""
    now = {job.id: job for job in jobs}
    for job in jobs:
        act(job)
    while waiting := [job for job in now.values() if not job.has_ended]:
        first, others = waiting[0], waiting[1:]
        changed = client.jobs.poll(first.id, version=first.version, wait_s=LOOK_AGAIN_S if others else 60)
        seen = [changed] if changed is not None else []
        seen += [known for job in others if (known := client.jobs.get(job.id).view).version != job.version]
        for job in seen:
            now[job.id] = job
            act(job)
    return list(now.values())


def tensorboard(
    service: Service,
    subjects: Annotated[list[str], Names(JOB, STUDY), make_argument("JOB|STUDY…", _SUBJECTS, JOB, STUDY)],
    logdir: Annotated[Path, typer.Option(metavar="DIR", help="Output folder, with a folder for each job.")] = Path(
        "logs"
    ),
    follow: Annotated[bool, typer.Option("--follow", help="Continue until all of them have ended.")] = False,
) -> None:
    """Write the curves of jobs for TensorBoard. Folders and tags are those of Keras' callback."""
    from heldout.integrations.tensorboard import make_folder_name, write_logs

    written: dict[str, Path] = {}
    client = service.client

    def write(job: JobView) -> None:
        if write_logs(logdir, job, client.jobs.metrics(job.id)) and job.id not in written:
            written[job.id] = logdir / make_folder_name(job)
            if not service.as_json:
                say(str(written[job.id]))

    jobs = collect_jobs(client, subjects)
    if follow:
        follow_all(client, jobs, write)
    else:
        for job in jobs:
            write(job)
    if service.as_json:
        print_json({"logdir": str(logdir), "jobs": {job: str(folder) for job, folder in written.items()}})
        return
    for job in jobs:
        if job.id not in written:
            say(f"{job.id}: no epoch is complete yet, so there is nothing to write.")
    if written:
        say(f"Look at them with: tensorboard --logdir {logdir}")


def mlflow(
    service: Service,
    subjects: Annotated[
        list[str] | None, Names(JOB, STUDY), make_argument("[JOB|STUDY…]", _SUBJECTS, JOB, STUDY)
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="By default MLFLOW_EXPERIMENT_NAME, else heldout.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", help="Continue until all have ended; without an ID send each job that ends from now on."
        ),
    ] = False,
    with_model: Annotated[
        bool, typer.Option("--model/--no-model", help="Whether to send the model's file too.")
    ] = True,
) -> Exit | None:
    """Send jobs to MLflow as runs. MLFLOW_TRACKING_URI names the server. Running this again adds what is new."""
    if not subjects and not follow:
        raise Refused("Name jobs or studies, or give --follow to send each job that ends from now on.")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise Refused("Set MLFLOW_TRACKING_URI, such as http://localhost:5000. MLflow's other variables also apply.")
    sender = _Sender(_open_tracking(experiment, with_model), service.as_json)
    client = service.client
    if subjects:
        jobs = collect_jobs(client, subjects)
        if follow:
            jobs = follow_all(client, jobs, lambda job: sender.send(client, job))
            jobs = [job for job in jobs if job.id in sender.unsent]  # again: MLflow may have been unavailable
        for job in jobs:
            sender.send(client, job)
    else:
        say("Each job that ends from now on is sent; Ctrl-C ends this.", file=sys.stderr)
        for event in client.events.follow():
            if event.type in _ENDS:
                sender.send(client, client.jobs.get(event.subject.id).view)
    if service.as_json:
        print_json({"runs": sender.runs, "unsent": sender.unsent})
    return Exit.FAILED if sender.unsent else None


class _Sender:
    """Sends jobs one by one. If MLflow refuses one, that is reported, and the next ones are still sent."""

    def __init__(self, tracking: Tracking, quiet: bool) -> None:
        self._tracking = tracking
        self._quiet = quiet
        self.runs: dict[str, str] = {}
        self.unsent: dict[str, str] = {}

    def send(self, client: Client, job: JobView) -> None:
        self.unsent.pop(job.id, None)
        with _catch_failure() as failures:
            run = self._tracking.send(client, job)
            if not self._quiet and self.runs.get(job.id) != run:
                say(f"{job.id}: run {run}")
            self.runs[job.id] = run
        for failure in failures:
            self.unsent[job.id] = failure
            say(f"{job.id} was not sent: {failure} `heldout mlflow {job.id}` tries again.", file=sys.stderr)


def _open_tracking(experiment: str | None, with_model: bool) -> Tracking:
    # MLflow sends telemetry and prints hints by default. Both are off unless the user turns them on.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        from heldout.cli.mlflow_tracking import Tracking
    except ModuleNotFoundError as error:
        if error.name != "mlflow":
            raise
        raise Refused("`heldout mlflow` needs the package mlflow-skinny: pip install mlflow-skinny.") from None
    with _catch_failure() as failures:
        name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "heldout"
        return Tracking(name, with_model=with_model)
    raise Refused(f"MLflow at {os.environ['MLFLOW_TRACKING_URI']}: {failures[0]}")


@contextmanager
def _catch_failure() -> Iterator[list[str]]:
    """Yield a list. If MLflow fails, its error is added, on one line, and is not raised."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    failures: list[str] = []
    try:
        yield failures
    except (MlflowException, RequestException) as error:
        failures.append(" ".join(str(error).split())[:500])
