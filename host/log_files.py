"""Keeps the log files of child processes small: they write to one file all their lives, and would fill the disk."""

import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from models.logs import MAX_FILE_BYTES, OLD_FILES

log = structlog.get_logger("heldout.up")

LOOK_S = 5.0


class LogFiles:
    """Looks at the files every few seconds while the block runs. Processes must have opened them for appending."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log files", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            for file in self._files:
                try:
                    set_aside_if_large(file)
                except OSError as failure:
                    log.warning("log_not_set_aside", file=str(file), reason=failure.strerror)


def set_aside_if_large(file: Path, max_bytes: int = MAX_FILE_BYTES, old_files: int = OLD_FILES) -> None:
    """Copy a large file to `….1`, older copies to `….2` and so on, and empty it.

    The process that writes to it goes on at its start. Of a file that grew far beyond the limit the end is kept.
    """
    if not file.is_file() or file.stat().st_size <= max_bytes:
        return
    copies = [file.with_name(f"{file.name}.{number}") for number in range(1, old_files + 1)]
    for older, newer in zip(reversed(copies), reversed(copies[:-1]), strict=False):
        with suppress(FileNotFoundError):
            newer.replace(older)
    with file.open("rb+") as opened, copies[0].open("wb") as copy:
        opened.seek(max(0, file.stat().st_size - max_bytes))
        shutil.copyfileobj(opened, copy)
        opened.truncate(0)
