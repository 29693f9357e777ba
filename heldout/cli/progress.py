"""Progress of trainings: lines for a pipe, bars for a terminal, JSON lines for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from heldout.cli.figures import clock, epoch_figures, epoch_of_epochs, seconds
from heldout.cli.screen import console, is_terminal, print_json, printable, say, terminal_width

if TYPE_CHECKING:
    from heldout.views.event import EventView
    from heldout.views.job import JobView
    from heldout.views.metrics import EpochView


# Columns from which on a bar has room for all figures of an epoch beside it.
WIDE_COLUMNS = 110
NARROW_BAR, WIDE_BAR = 12, 24


class Display:
    """Shows what happens to one or more jobs; each kind of display leaves out what does not suit it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def job(self, job: JobView) -> None:
        """Called with the job as it is now: when it is new, and after each change."""

    def event(self, job: JobView, event: EventView) -> None:
        """Called with each event of the job."""

    def epoch(self, job: JobView, epoch: EpochView) -> None:
        """Called with each epoch that was measured, after its event."""


def display(name_width: int = 0) -> Display:
    """Bars on a terminal, else lines; `name_width` is the length of the longest name that will be shown."""
    return Bars() if is_terminal() else Lines(name_width)


class JsonLines(Display):
    """Each event as one line of JSON; the job itself is printed by the caller at the end."""

    def event(self, job: JobView, event: EventView) -> None:
        print_json(event, one_line=True)


class Lines(Display):
    """One line for each epoch, and one for whatever else happens."""

    def __init__(self, name_width: int = 0) -> None:
        self._width = name_width

    def epoch(self, job: JobView, epoch: EpochView) -> None:
        self._say(job, f"epoch {epoch_of_epochs(job, epoch)}  {epoch_figures(epoch)}  {seconds(epoch.seconds)}")

    def event(self, job: JobView, event: EventView) -> None:
        if is_news(event):
            for line in lines_of(event):
                self._say(job, line)

    def _say(self, job: JobView, text: str) -> None:
        say(f"{job.name.ljust(self._width)}  {text}")


class Bars(Display):
    """One bar for each job, drawn over as it goes; warnings stay above the bars."""

    def __init__(self) -> None:
        from rich import progress
        from rich.text import Text

        class Left(progress.ProgressColumn):
            """How long the rest takes; once it has ended, or where that is not known, how long it took so far."""

            def render(self, task: progress.Task) -> Text:
                left_s = task.fields["left_s"]
                if left_s is not None and not task.finished:
                    return Text(f"{clock(left_s)} left")
                seconds = task.finished_time if task.finished else task.elapsed
                return Text("" if seconds is None else clock(seconds))

        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=NARROW_BAR if terminal_width() < WIDE_COLUMNS else WIDE_BAR),
            progress.TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            Left(),
            progress.TextColumn("{task.fields[text]}"),
            console=console(),
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
            task = self._bars.add_task(printable(job.name), start=False, total=of, text="", left_s=None)
            self._tasks[job.id] = task
        self._bars.update(task, completed=done, total=of, left_s=job.progress.eta_s)
        if job.status != "queued" and job.started_at:
            self._bars.start_task(task)
        if job.finished_at:
            self._bars.stop_task(task)
        if done == 0 or job.status not in {"running", "succeeded"}:
            self._bars.update(task, text=job.status)

    def epoch(self, job: JobView, epoch: EpochView) -> None:
        self._bars.update(self._tasks[job.id], text=epoch_figures(epoch, short=terminal_width() < WIDE_COLUMNS))

    def event(self, job: JobView, event: EventView) -> None:
        if event.level != "info":
            for line in lines_of(event):
                self._bars.console.print(printable(f"{job.name}  {line}"))


def is_news(event: EventView) -> bool:
    """Whether to print the event: ordinary epochs and checkpoints are left out."""
    return event.level != "info" or event.type not in {"job.epoch", "job.checkpoint"}


def lines_of(event: EventView) -> list[str]:
    """The event's message, then the lines of its log if it has one."""
    log = event.data.get("log")
    lines = [f"  {line}" for line in log] if isinstance(log, list) else []
    return [f"{event.type.partition('.')[2].replace('_', ' ')}: {event.message}", *lines]
