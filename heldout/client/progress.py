"""Progress bars for terminals and notebooks."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from heldout.markup import tag
from heldout.words import format_duration


@contextmanager
def show_bar(name: str, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for a number of steps, if `shown`."""
    if not shown:
        yield lambda done, of: None
        return
    if _is_notebook():
        yield _NotebookBar(name).show
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


@contextmanager
def show_bytes_bar(total: int | None, shown: bool) -> Iterator[Callable[[Iterable[bytes]], Iterable[bytes]]]:
    """Show a bar for an upload, if `shown`: yields a function that passes chunks through and counts them."""
    if not shown:
        yield iter
        return
    if _is_notebook():
        show = _NotebookBar("uploading, MB").show
        yield lambda chunks: _count_chunks(chunks, lambda sent: show(sent // 10**6, (total or sent) // 10**6))
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    with Progress(TextColumn("uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn()) as progress:
        task = progress.add_task("", total=total)
        yield lambda chunks: _count_chunks(chunks, lambda sent: progress.update(task, completed=sent))


def _count_chunks(chunks: Iterable[bytes], show: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the chunks and pass the number of bytes sent to `show`. A repeated upload starts again from 0."""
    sent = 0
    show(sent)
    for chunk in chunks:
        yield chunk
        sent += len(chunk)
        show(sent)


class _NotebookBar:
    """A line of HTML below the cell that is drawn again and again; it needs no widgets."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = time.monotonic()
        self._shown: Any = None
        self._last: tuple[int, int] | None = None

    def show(self, done: int, of: int) -> None:
        if (done, of) == self._last:
            return
        from IPython import display

        self._last = done, of
        left_s = (time.monotonic() - self._started) * (of - done) / done if done else None
        left = "" if left_s is None or done >= of else f", about {format_duration(left_s)} left"
        line = tag("div", tag("progress", value=done, max=max(of, 1)), f" {self._name}: {done:,} of {of:,}{left}")
        if self._shown is None:
            self._shown = display.display(display.HTML(line), display_id=True)
        else:
            self._shown.update(display.HTML(line))


def _is_notebook() -> bool:
    """Tell whether this is a Jupyter kernel. Nothing is imported: a kernel has imported IPython."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")
