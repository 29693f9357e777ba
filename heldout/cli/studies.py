"""Commands about studies: list them, show or watch one, report, cancel and delete it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from heldout.cli.command import Group, Service, StudyId
from heldout.cli.curing import follow
from heldout.cli.figures import format_moment
from heldout.cli.outcome import Exit, Refused
from heldout.cli.references import LAST
from heldout.cli.screen import print_json, print_table, say
from heldout.cli.sealing import close, seal, send
from heldout.cli.shown import print_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.views.study import StudyView

HEADINGS = ("ID", "NAME", "STATUS", "TRAININGS", "ANSWER", "CREATED")


class _ShowsAnId(TyperGroup):
    """`heldout studies std_…` is `heldout studies show std_…`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, ["show", *args] if args[0].startswith("std_") or args[0] == LAST else args)


def list_studies(
    service: Service,
    statuses: Annotated[list[str] | None, typer.Option("--status", help="Only of this status. Repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
) -> None:
    """List studies, newest first; with an id, show that one."""
    found = service.client.studies.list(statuses=statuses or (), page_size=min(limit + 1, 200))
    service.print_list(found, _show_studies, limit=limit)


def show(
    service: Service,
    study_id: StudyId,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
) -> Exit | None:
    """Show a study: its arms with their intervals, and its answer."""
    if watch:
        return follow(service, study_id)
    service.print(service.client.studies.get(study_id).view, print_study)
    return None


def report(
    service: Service,
    study_id: StudyId,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as one page of HTML, to open, to print or to send.")
    ] = None,
) -> None:
    """Report a study in plain words: what helped, by how much, whether it is sure, what to do now."""
    if html is not None and service.as_json:
        raise Refused("--json and --html are two forms of one report: give one of them.")
    studies = service.client.studies
    if service.as_json:
        print_json(studies.report(study_id))
    elif html is not None:
        html.write_text(studies.report_text(study_id, "text/html"), encoding="utf-8")
        say(f"{html}: {html.stat().st_size:,} bytes")
    else:
        for line in studies.report_text(study_id).splitlines():
            say(line)


def cancel(service: Service, study_id: StudyId) -> None:
    """Cancel a study with all of its jobs; their measurements are kept."""
    study = service.client.studies.cancel(study_id).view
    text = f"{study.id} {'cancelling' if study.status == 'running' else study.status}"
    service.print(study, lambda _: say(text))


def delete(service: Service, study_id: StudyId) -> None:
    """Delete a study that has ended, with all of its jobs and their models."""
    service.client.studies.delete(study_id)
    service.print_deleted("study", study_id)


app = Group(list_studies, "List studies; with an id, show that one.", _ShowsAnId)
app.add(show, report, cancel, delete, seal, send, close)


def _show_studies(found: "Sequence[StudyView]") -> None:
    from heldout.documents.study import describe_progress

    rows = []
    for study in found:
        answer = study.headline if study.status == "succeeded" else None
        trainings = describe_progress(study).partition(" trainings")[0]
        rows.append((study.id, study.name, study.status, trainings, answer, format_moment(study.created_at)))
    print_table(HEADINGS, rows)
