"""Commands about studies: list them, show or watch one, report, cancel and delete it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from heldout.cli.command import AsJson, Group, Home, StudyId, open_service, print_deleted, print_list
from heldout.cli.curing import follow
from heldout.cli.figures import format_moment
from heldout.cli.outcome import Exit, Refused
from heldout.cli.references import LAST
from heldout.cli.screen import print_json, print_table, say
from heldout.cli.shown_study import describe_progress, show_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.views.study import StudyView

HEADINGS = ("ID", "NAME", "STATUS", "TRAININGS", "ANSWER", "CREATED")


class _ShowsAnId(TyperGroup):
    """`heldout studies std_…` is `heldout studies show std_…`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, ["show", *args] if args[0].startswith("std_") or args[0] == LAST else args)


def list_studies(
    statuses: Annotated[list[str] | None, typer.Option("--status", help="Only of this status. Repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List studies, newest first; with an id, show that one."""
    with open_service(home) as client:
        found = client.studies.list(statuses=statuses or (), page_size=min(limit + 1, 200))
        print_list(found, as_json, _show_studies, limit=limit)


def show(
    study_id: StudyId,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> Exit | None:
    """Show a study: its arms with their intervals, and its answer."""
    with open_service(home) as client:
        if watch:
            return follow(client, study_id, as_json)
        study = client.studies.get(study_id).view
    print_json(study) if as_json else show_study(study)
    return None


def report(
    study_id: StudyId,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as one page of HTML, to open, to print or to send.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Report a study in plain words: what helped, by how much, whether it is sure, what to do now."""
    if html is not None and as_json:
        raise Refused("--json and --html are two forms of one report: give one of them.")
    with open_service(home) as client:
        if as_json:
            print_json(client.studies.report(study_id))
        elif html is not None:
            html.write_text(client.studies.report_text(study_id, "text/html"), encoding="utf-8")
            say(f"{html}: {html.stat().st_size:,} bytes")
        else:
            for line in client.studies.report_text(study_id).splitlines():
                say(line)


def cancel(study_id: StudyId, as_json: AsJson = False, home: Home = None) -> None:
    """Cancel a study with all of its jobs; their measurements are kept."""
    with open_service(home) as client:
        study = client.studies.cancel(study_id).view
    text = f"{study.id} {'cancelling' if study.status == 'running' else study.status}"
    print_json(study) if as_json else say(text)


def delete(study_id: StudyId, as_json: AsJson = False, home: Home = None) -> None:
    """Delete a study that has ended, with all of its jobs and their models."""
    with open_service(home) as client:
        client.studies.delete(study_id)
    print_deleted("study", study_id, as_json)


app = Group(list_studies, "List studies; with an id, show that one.", _ShowsAnId)
app.add(show, report, cancel, delete)


def _show_studies(found: "Sequence[StudyView]") -> None:
    rows = []
    for study in found:
        answer = study.headline if study.status == "succeeded" else None
        trainings = describe_progress(study).partition(" trainings")[0]
        rows.append((study.id, study.name, study.status, trainings, answer, format_moment(study.created_at)))
    print_table(HEADINGS, rows)
