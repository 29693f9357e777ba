"""`heldout cure`: order a study of a job that has ended, and follow it to its answer."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from heldout.cli.command import AsJson, Home, JobId, service
from heldout.cli.outcome import Exit, Refused, exit_of_job
from heldout.cli.screen import print_json, say
from heldout.cli.shown_study import show_estimate, show_study
from heldout.cli.study_progress import JsonEvents, follow_study, study_display
from heldout.failures import NoService

if TYPE_CHECKING:
    from heldout.client import Client


def cure(
    job_id: JobId,
    remedies: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Such as dropout,augmentation,dropout+augmentation; by default what suits the job."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, max=20, help="Of the first look at each; by default 3.")] = None,
    splits: Annotated[
        Literal["auto", "fixed", "resampled"] | None, typer.Option(help="resampled gives each seed a fold of its own.")
    ] = None,
    budget_jobs: Annotated[int | None, typer.Option(min=2, max=2000, help="At most so many trainings.")] = None,
    budget_seconds: Annotated[
        float | None, typer.Option(min=1, help="At most so many seconds of all trainings together.")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare on the data as they are, also where they should be mended first.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many trainings it would be; order none.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it starts.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "--no-wait", help="Order it, print its id, end.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> Exit | None:
    """Measure which remedies help a job. Train with each and without, over several seeds, and compare."""
    body = {
        "job": job_id,
        "remedies": _names(remedies),
        "seeds": seeds,
        "splits": splits,
        "budget": {"jobs": budget_jobs, "seconds": budget_seconds},
    }
    return order(home, body, anyway=anyway, dry_run=dry_run, yes=yes, detach=detach, as_json=as_json)


def order(
    home: Path | None,
    body: Mapping[str, Any],
    *,
    dry_run: bool,
    yes: bool,
    detach: bool,
    as_json: bool,
    anyway: bool = False,
) -> Exit | None:
    """Order a study and follow it; on a terminal, ask first. With `dry_run`, say what it would be and order none.

    Args:
        anyway: give the service the job's spec instead of the job, whose data it then does not judge.
    """
    with service(home) as client:
        if anyway:
            body = {**body, "job": None, "spec": client.get(body["job"]).spec.model_dump(mode="json")}
        if dry_run:
            estimate = client.estimate_study(body)
            print_json(estimate) if as_json else show_estimate(estimate)
            return None
        if not (yes or as_json or detach) and sys.stdin.isatty() and sys.stdout.isatty():
            show_estimate(client.estimate_study(body))
            if not typer.confirm("Start it?", default=True):
                return None
        study = client.order_study(body)
        if detach:
            print_json(study) if as_json else say(study.id)
            return None
        return follow(client, study.id, as_json)


def follow(client: "Client", study_id: str, as_json: bool) -> Exit:
    """Show a study until it has ended; the exit code is that of its end."""
    try:
        study = follow_study(client, study_id, JsonEvents() if as_json else study_display())
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # below the ^C
        say(f"The study goes on. {_later(study_id)}", file=sys.stderr)
        return Exit.INTERRUPTED
    except NoService as failure:
        raise NoService(f"{failure} The study may go on. {_later(study_id)}") from None
    print_json(study, one_line=True) if as_json else show_study(study)
    return exit_of_job(study.status)


def _later(study_id: str) -> str:
    return (
        f"`heldout studies {study_id} --watch` shows it again; `heldout studies cancel {study_id}` ends it with all "
        "of its trainings."
    )


def _names(remedies: str | None) -> Any:
    if remedies is None or remedies == "auto":
        return "auto"
    names = [name.strip() for name in remedies.split(",")]
    if not all(names):
        raise Refused(f"--remedies {remedies}: expected names with commas between them.")
    return names
