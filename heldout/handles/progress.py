"""Bars that show how far something has come, in a terminal or a notebook."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(name: str, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar for steps done of how many; nothing where it is not wanted."""
    if not shown:
        yield lambda done, of: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


@contextmanager
def bytes_bar(total: int | None, shown: bool) -> Iterator[Callable[[Iterable[bytes]], Iterable[bytes]]]:
    """A bar for an upload: what it is given yields the chunks again, and is counted."""
    if not shown:
        yield iter
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    with Progress(TextColumn("uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn()) as progress:
        task = progress.add_task("", total=total)

        def counted(chunks: Iterable[bytes]) -> Iterator[bytes]:
            progress.update(task, completed=0)  # a repeated upload starts again from its beginning
            for chunk in chunks:
                yield chunk
                progress.advance(task, len(chunk))

        yield counted
