"""Follows jobs and studies: lines in a pipe, a live display on a terminal, JSON lines for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from heldout.cli.figures import format_epoch_figures
from heldout.cli.screen import get_console, get_terminal_width, is_terminal, print_json, say
from heldout.documents.arms import SO_FAR, has_provisional_figures, tabulate_study
from heldout.documents.study import describe_progress
from heldout.documents.terminal import write_table
from heldout.markup import make_visible
from heldout.words import NONE, format_duration

if TYPE_CHECKING:
    from heldout.client.client import Client
    from heldout.views.account import EventView
    from heldout.views.job import JobView
    from heldout.views.results import EpochView
    from heldout.views.study import StudyView

# From this width on, all figures of an epoch fit next to a bar.
WIDE_COLUMNS = 110
NARROW_BAR, WIDE_BAR = 12, 24
# Its message is the answer, which is printed at the end.
ANSWER = "study.succeeded"


class Display:
    """Shows the progress of a study, or of one or more jobs; each kind of display implements the methods it needs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def job(self, job: JobView) -> None:
        """Called with the current job, first and after each change."""

    def study(self, study: StudyView) -> None:
        """Called with the current study, first and after each change."""

    def event(self, subject: JobView | StudyView, event: EventView) -> None:
        """Called with each event of the job or study."""

    def epoch(self, job: JobView, epoch: EpochView) -> None:
        """Called with each epoch that was measured, after its event."""


def display(name_width: int = 0) -> Display:
    """Choose the display of jobs: bars on a terminal, else lines; `name_width` is the length of the longest name."""
    return Bars() if is_terminal() else Lines(name_width)


def make_study_display() -> Display:
    return LiveTable() if is_terminal() else StudyLines()


class JsonLines(Display):
    """Each event as one line of JSON; the job or study itself is printed by the caller at the end."""

    def event(self, subject: JobView | StudyView, event: EventView) -> None:
        print_json(event, one_line=True)


class Lines(Display):
    """One line for each epoch, and one for whatever else happens."""

    def __init__(self, name_width: int = 0) -> None:
        self._width = name_width

    def epoch(self, job: JobView, epoch: EpochView) -> None:
        epochs = str(job.progress.epochs)
        number = f"{epoch.epoch}/{epochs}".rjust(2 * len(epochs) + 1)  # as wide as `10/10`
        self._say(job, f"epoch {number}  {format_epoch_figures(epoch)}  {format_duration(epoch.seconds)}")

    def event(self, subject: JobView | StudyView, event: EventView) -> None:
        # Ordinary epochs and checkpoints are left out.
        if event.level != "info" or event.type not in {"job.epoch", "job.checkpoint"}:
            for line in list_lines(event):
                self._say(subject, line)

    def _say(self, job: JobView | StudyView, text: str) -> None:
        say(f"{job.name.ljust(self._width)}  {text}")


class Bars(Display):
    """One live bar for each job; warnings stay above the bars."""

    def __init__(self) -> None:
        from rich import progress
        from rich.text import Text

        class Left(progress.ProgressColumn):
            """Format the time left; if it has ended or that is unknown, the time so far."""

            def render(self, task: progress.Task) -> Text:
                left_s = task.fields["left_s"]
                if left_s is not None and not task.finished:
                    return Text(f"{format_duration(left_s)} left")
                seconds = task.finished_time if task.finished else task.elapsed
                return Text("" if seconds is None else format_duration(seconds))

        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=NARROW_BAR if get_terminal_width() < WIDE_COLUMNS else WIDE_BAR),
            progress.TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            Left(),
            progress.TextColumn("{task.fields[text]}"),
            console=get_console(),
        )
        self._tasks: dict[str, progress.TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def job(self, job: JobView) -> None:
        done, of = job.progress.epoch, job.progress.epochs
        task = self._tasks.get(job.id)
        if task is None:
            task = self._bars.add_task(make_visible(job.name), start=False, total=of, text="", left_s=None)
            self._tasks[job.id] = task
        self._bars.update(task, completed=done, total=of, left_s=job.progress.eta_s)
        if job.status != "queued" and job.started_at:
            self._bars.start_task(task)
        if job.finished_at:
            self._bars.stop_task(task)
        if done == 0 or job.status not in {"running", "succeeded"}:
            self._bars.update(task, text=job.status)

    def epoch(self, job: JobView, epoch: EpochView) -> None:
        self._bars.update(
            self._tasks[job.id], text=format_epoch_figures(epoch, short=get_terminal_width() < WIDE_COLUMNS)
        )

    def event(self, subject: JobView | StudyView, event: EventView) -> None:
        if event.level != "info":
            for line in list_lines(event):
                self._bars.console.print(make_visible(f"{subject.name}  {line}"))


class StudyLines(Display):
    """One line for each event and each changed row of the table, and one for each further tenth of the trainings."""

    def __init__(self) -> None:
        self._told = 0
        self._rows: dict[str, list[str]] = {}

    def study(self, study: StudyView) -> None:
        if study.status != "running":
            return
        tenths = 10 * study.progress.done // max(1, study.progress.jobs)
        if tenths > self._told:
            say(describe_progress(study))
        self._told = tenths
        table = tabulate_study(study)
        if table is None:
            return
        headings, *lines = write_table(table, get_terminal_width())
        for row, line in zip(table.rows, lines, strict=True):
            name, *cells = (cell for cell in row if isinstance(cell, str))
            if cells[-2] != NONE and self._rows.get(name) != cells:
                if not self._rows:
                    say(headings)
                say(line)
                self._rows[name] = cells

    def event(self, subject: JobView | StudyView, event: EventView) -> None:
        if event.type != ANSWER:
            for line in list_lines(event):
                say(line)


class LiveTable(Display):
    """A live table of the arms with their intervals around 0; events stay above the table."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=get_console(), auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The whole table is printed at the end, with notes about its arms.
        self._live.update("", refresh=True)
        self._live.stop()

    def study(self, study: StudyView) -> None:
        from rich.text import Text

        table = tabulate_study(study)
        drawn = Text(f"{make_visible(study.name)}: {describe_progress(study)}", no_wrap=True, overflow="ellipsis")
        for line in [] if table is None else write_table(table, get_terminal_width()):
            drawn.append(f"\n{line}", style="dim" if "(dropped)" in line else None)
        if has_provisional_figures(study):
            drawn.append(f"\n{SO_FAR}", style="dim")
        self._live.update(drawn, refresh=True)

    def event(self, subject: JobView | StudyView, event: EventView) -> None:
        if event.type != ANSWER:
            for line in list_lines(event):
                self._live.console.print(make_visible(line))


def list_lines(event: EventView) -> list[str]:
    """Return the event's message, then the lines of its log, if any."""
    log = event.data.get("log")
    lines = [f"  {line}" for line in log] if isinstance(log, list) else []
    return [f"{event.type.partition('.')[2].replace('_', ' ')}: {event.message}", *lines]


class Follower:
    """Remembers which events and epochs of one job have been shown."""

    def __init__(self, client: Client, display: Display) -> None:
        self._client = client
        self._display = display
        self._event = 0
        self._epoch = 0

    def show(self, job: JobView) -> None:
        """Show what has happened since the last call, with each epoch at the position of its event."""
        self._display.job(job)
        events = list(self._client.jobs.events(job.id, after=self._event))
        is_new = job.progress.epoch > self._epoch or any(event.type == "job.epoch" for event in events)
        epochs = self._client.jobs.metrics(job.id).epochs if is_new else []
        for event in events:
            self._event = event.id
            self._display.event(job, event)
            if event.type == "job.started":
                # Another attempt may measure epochs again, starting with its first one.
                self._epoch = min(self._epoch, job.progress.epoch)
            elif event.type == "job.epoch":
                self._show_epochs(job, epochs, up_to=int(event.data.get("epoch") or self._epoch + 1))
        self._show_epochs(job, epochs, up_to=job.progress.epoch)

    def _show_epochs(self, job: JobView, epochs: list[EpochView], up_to: int) -> None:
        for epoch in epochs:
            if self._epoch < epoch.epoch <= up_to:
                self._epoch = epoch.epoch
                self._display.epoch(job, epoch)


def follow(client: Client, job_id: str, display: Display) -> JobView:
    """Show a job until it has ended, and return it."""
    follower = Follower(client, display)
    with display:
        for job in client.jobs.watch(job_id):
            follower.show(job)
    return job


class StudyFollower:
    """Remembers which events of one study have been shown."""

    def __init__(self, client: Client, display: Display) -> None:
        self._client = client
        self._display = display
        self._version = -1
        self._event = 0

    def show(self, study: StudyView) -> None:
        """Show what has happened since the last call; nothing if the study has not changed."""
        if study.version == self._version:
            return
        self._version = study.version
        for event in self._client.studies.events(study.id, after=self._event):
            self._event = event.id
            self._display.event(study, event)
        self._display.study(study)


def follow_study(client: Client, study_id: str, display: Display) -> StudyView:
    """Show a study until it has ended, and return it."""
    follower = StudyFollower(client, display)
    with display:
        for study in client.studies.watch(study_id):
            follower.show(study)
    return study
