"""`heldout tensorboard`: the curves of jobs as logs that TensorBoard reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import AsJson, Home, service
from heldout.cli.screen import print_json, say
from heldout.cli.several_jobs import Subjects, follow_all, jobs_of

if TYPE_CHECKING:
    from heldout.views.job import JobView


def tensorboard(
    subjects: Subjects,
    logdir: Annotated[Path, typer.Option(metavar="DIR", help="Where to write; a folder for each job.")] = Path("logs"),
    follow: Annotated[bool, typer.Option("--follow", help="Go on until all of them have ended.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Write the curves of jobs for TensorBoard. In the folders and with the tags of Keras' callback."""
    from heldout.integrations.tensorboard import folder_of, write_logs

    written: dict[str, Path] = {}
    with service(home) as client:

        def write(job: JobView) -> None:
            if write_logs(logdir, job, client.metrics(job.id)) and job.id not in written:
                written[job.id] = logdir / folder_of(job)
                if not as_json:
                    say(str(written[job.id]))

        jobs = jobs_of(client, subjects)
        if follow:
            follow_all(client, jobs, write)
        else:
            for job in jobs:
                write(job)
    if as_json:
        print_json({"logdir": str(logdir), "jobs": {job: str(folder) for job, folder in written.items()}})
        return
    for job in jobs:
        if job.id not in written:
            say(f"{job.id}: no epoch is done yet, so there is nothing to write.")
    if written:
        say(f"Look at them with: tensorboard --logdir {logdir}")
