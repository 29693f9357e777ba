"""`heldout curve`: train a job's spec on more and more images, and say what twice as many should bring."""

from typing import Annotated, Any, Literal

import typer

from heldout.cli.command import AsJson, Home, JobId
from heldout.cli.curing import order
from heldout.cli.outcome import Exit


def curve(
    job_id: JobId,
    seeds: Annotated[int | None, typer.Option(min=2, max=20, help="Trainings of each size; by default 3.")] = None,
    splits: Annotated[
        Literal["auto", "fixed", "resampled"] | None, typer.Option(help="resampled gives each seed a fold of its own.")
    ] = None,
    budget_jobs: Annotated[int | None, typer.Option(min=2, max=2000, help="At most so many trainings.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many trainings it would be; order none.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it starts.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "--no-wait", help="Order it, print its id, end.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> Exit | None:
    """Measure whether more images would help. Train on five sizes, and forecast twice the largest."""
    body: dict[str, Any] = {
        "kind": "learning_curve",
        "job": job_id,
        "seeds": seeds,
        "splits": splits,
        "budget": {"jobs": budget_jobs},
    }
    return order(home, body, dry_run=dry_run, yes=yes, detach=detach, as_json=as_json)
