"""Progress of a study: lines for a pipe, a table that is drawn over for a terminal, JSON lines for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from heldout.cli import shown_curve
from heldout.cli.progress import lines_of
from heldout.cli.screen import console, is_terminal, print_json, printable, say
from heldout.cli.shown_study import HEADINGS, RIGHT, arm_rows, columns_that_fit, progress_of

if TYPE_CHECKING:
    from rich.table import Table

    from heldout.client import Client
    from heldout.views.event import EventView
    from heldout.views.study import StudyView

# Its message is the answer, which is printed at the end.
ANSWER = "study.succeeded"


class StudyDisplay:
    """Shows what happens to a study; each kind of display leaves out what does not suit it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def study(self, study: StudyView) -> None:
        """Called with the study as it is now: when it is new, and after each change."""

    def event(self, event: EventView) -> None:
        """Called with each event of the study."""


def study_display() -> StudyDisplay:
    return LiveTable() if is_terminal() else StudyLines()


class JsonEvents(StudyDisplay):
    """Each event as one line of JSON; the study itself is printed by the caller at the end."""

    def event(self, event: EventView) -> None:
        print_json(event, one_line=True)


class StudyLines(StudyDisplay):
    """One line for each event, and one whenever another tenth of the trainings is done."""

    def __init__(self) -> None:
        self._told = 0

    def study(self, study: StudyView) -> None:
        tenths = 10 * study.progress.done // max(1, study.progress.jobs)
        if tenths > self._told and study.status == "running":
            say(progress_of(study))
        self._told = tenths

    def event(self, event: EventView) -> None:
        if event.type != ANSWER:
            for line in lines_of(event):
                say(line)


class LiveTable(StudyDisplay):
    """The arms with their intervals around 0, drawn over as trainings end; events stay above the table."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=console(), auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The whole table is printed at the end, with what there is to say about its arms.
        self._live.update("", refresh=True)
        self._live.stop()

    def study(self, study: StudyView) -> None:
        self._live.update(table_of(study), refresh=True)

    def event(self, event: EventView) -> None:
        if event.type != ANSWER:
            for line in lines_of(event):
                self._live.console.print(printable(line))


def table_of(study: StudyView) -> Table:
    """The table of a terminal; without the last columns where they do not fit."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    is_curve = study.kind == "learning_curve"
    headings, right = (shown_curve.HEADINGS, shown_curve.RIGHT) if is_curve else (HEADINGS, RIGHT)
    rows = shown_curve.size_rows(study) if is_curve else arm_rows(study)
    columns = len(headings) if is_curve else columns_that_fit(rows)
    title = Text(printable(f"{study.name}: {progress_of(study)}"))
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0), show_edge=False)
    for place, heading in enumerate(headings[:columns]):
        table.add_column(Text(heading), justify="right" if place in right else "left", no_wrap=True)
    for row in rows:
        style = "dim" if row[1] == "dropped" else None
        table.add_row(*(Text(printable(cell)) for cell in row[:columns]), style=style)
    return table


def follow_study(client: Client, study_id: str, display: StudyDisplay) -> StudyView:
    """Show a study until it has ended, and give it back as it is then."""
    last = 0
    with display:
        for study in client.watch_study(study_id):
            for event in client.study_events(study_id, after=last):
                last = event.id
                display.event(event)
            display.study(study)
    return study
