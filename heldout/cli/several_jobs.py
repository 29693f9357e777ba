"""Commands that take several jobs: which ones are meant, and following them until all have ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli import completion

if TYPE_CHECKING:
    from heldout.client import Client
    from heldout.views.job import JobView

# While the first of several is waited for, the others are looked at so often.
LOOK_AGAIN_S = 10

Subjects = Annotated[
    list[str],
    typer.Argument(
        metavar="ID…",
        help="Ids of jobs, job_…, or of studies, std_…, with all of their jobs.",
        show_default=False,
        autocompletion=lambda incomplete: [*completion.job_ids(incomplete), *completion.study_ids(incomplete)],
    ),
]


def jobs_of(client: Client, subjects: Sequence[str]) -> list[JobView]:
    """The jobs, those of studies oldest first, each once.

    Raises:
        ApiProblem: if one of them is not there.
    """
    found: dict[str, JobView] = {}
    for subject in subjects:
        if subject.startswith("std_"):
            client.study(subject)  # a study that is not there is said, and not taken for one without jobs
            found |= {job.id: job for job in reversed(list(client.jobs(study=subject)))}
        else:
            job = client.get(subject)
            found[job.id] = job
    return list(found.values())


def follow_all(client: Client, jobs: Sequence[JobView], act: Callable[[JobView], None]) -> list[JobView]:
    """Call `act` with each job as it is now and after each change, until all have ended; gives them as they ended."""
    now = {job.id: job for job in jobs}
    for job in jobs:
        act(job)
    while waiting := [job for job in now.values() if not job.has_ended]:
        first, others = waiting[0], waiting[1:]
        changed = client.wait(first.id, version=first.version, wait_s=LOOK_AGAIN_S if others else 60)
        seen = [changed] if changed is not None else []
        seen += [one for job in others if (one := client.get(job.id)).version != job.version]
        for job in seen:
            now[job.id] = job
            act(job)
    return list(now.values())
