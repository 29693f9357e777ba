"""What a person wants to know next: whether a changed job did better than the one before, and what to type now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.cli.figures import accuracy, interval, loss, points
from heldout.cli.screen import print_table, say, say_prose
from heldout.failures import ApiProblem

if TYPE_CHECKING:
    from heldout.client import Client
    from heldout.stored.final import FinalView
    from heldout.views.job import JobView

HEADINGS = ("SPLIT", "BEFORE", "NOW", "POINTS", "LOSS BEFORE", "NOW")


def show_next_steps(client: Client, job: JobView, final: FinalView | None) -> None:
    """Below a job that has ended: how it compares with the job that it was made from, and which commands follow."""
    if final is None:
        return
    say("")
    compared = _before(client, job)
    if compared is not None:
        show_comparison(*compared, final)
    say(f"`heldout diagnose {job.id}` says why this job is worse on unseen images, and what to try.")


def show_comparison(before: JobView, figures: FinalView, final: FinalView) -> None:
    """Held-out figures of both, and how much they are worth."""
    say(f"Beside {before.id} ({before.name}), from which it was made:")
    pairs = (("validation", figures.validation, final.validation), ("test", figures.test, final.test))
    rows = [
        (
            name,
            f"{accuracy(old.accuracy)} {interval(old.interval, 3)}",
            f"{accuracy(new.accuracy)} {interval(new.interval, 3)}",
            points(new.accuracy - old.accuracy),
            loss(old.loss),
            loss(new.loss),
        )
        for name, old, new in pairs
        if old is not None and new is not None
    ]
    print_table(HEADINGS, rows, right=(3, 4, 5))
    say_prose(
        f"These are one training each, so part of the difference is chance. `heldout cure {before.id}` measures which "
        "changes help beyond chance."
    )


def _before(client: Client, job: JobView) -> tuple[JobView, FinalView] | None:
    """The job that this one was made from, where both were measured on the same images; else None."""
    if job.retry_of is None:
        return None
    try:
        before = client.get(job.retry_of)
        figures = client.metrics(job.retry_of).final
    except ApiProblem:  # deleted meanwhile
        return None
    is_same = before.dataset.id == job.dataset.id and before.spec.validation == job.spec.validation
    return None if figures is None or not is_same else (before, figures)
