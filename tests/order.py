"""Orders files of tests so that no processor is idle for long."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

# Their tests start real services and wait for them.
WAITING = ("tests/e2e", "tests/faults")
# These take long too: they train networks.
COMPUTING = ("tests/worker",)
# This many other files follow each waiting file, and compute in the meantime.
OTHERS = 3


class Located(Protocol):
    """A test with its place, for ordering."""

    @property
    def path(self) -> Path: ...


Test = TypeVar("Test", bound=Located)


def longest_first(tests: Iterable[Test], root: Path) -> list[Test]:
    """Order the tests by file, short files last, with waiting files spread among the others. Within a file, nothing
    moves.
    """
    files: dict[Path, list[Test]] = {}
    for test in tests:
        files.setdefault(test.path, []).append(test)
    waiting = [file for file in files if _is_in(file, root, WAITING)]
    others = sorted(files.keys() - set(waiting), key=lambda file: (not _is_in(file, root, COMPUTING), file))
    return [test for file in _spread(waiting, iter(others)) for test in files[file]]


def _is_in(file: Path, root: Path, folders: Iterable[str]) -> bool:
    return any(file.is_relative_to(root / folder) for folder in folders)


def _spread(waiting: Iterable[Path], others: Iterator[Path]) -> Iterator[Path]:
    for file in waiting:
        yield file
        yield from islice(others, OTHERS)
    yield from others
