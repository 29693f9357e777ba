"""The terminal: its abilities, and text, tables and JSON for people and programs."""

import codecs
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from heldout.documents.columns import BETWEEN, align
from heldout.markup import make_visible
from heldout.words import NONE

if TYPE_CHECKING:
    from rich.console import Console

    from heldout.documents.blocks import Block

# A pipe has no width; tables take what they need.
PIPE_WIDTH = 160
# Longer lines are hard to read.
PROSE_WIDTH = 100

_ASCII = {"–": "-", "—": "-", "−": "-", "…": "...", "×": "x", "±": "+-", "·": "-", "’": "'", "✓": "+", "μ": "u"}
_ASCII |= {"│": "|", "─": "-", "━": "=", "╸": "=", "╺": "-"}


def prepare() -> None:
    """Make all three streams usable: closed ones lead nowhere, and characters that one cannot encode become ASCII."""
    _open_closed_streams()
    codecs.register_error("heldout-ascii", _replace_with_ascii)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="heldout-ascii", line_buffering=True)


def is_terminal(stream: TextIO | None = None) -> bool:
    """Return whether text on the stream can be overwritten: a terminal, but not a dumb one."""
    stream = stream or sys.stdout
    return stream.isatty() and os.environ.get("TERM", "").lower() not in {"", "dumb", "unknown"}


def get_console() -> "Console":
    """Return Rich's console on standard output, without markup: names and messages are shown unchanged."""
    from rich.console import Console

    terminal = is_terminal()
    return Console(
        file=sys.stdout,
        width=None if sys.stdout.isatty() else PIPE_WIDTH,
        markup=False,
        emoji=False,
        highlight=False,
        force_interactive=terminal,
    )


def get_terminal_width() -> int:
    """Return the columns of a line: the terminal's, or PIPE_WIDTH if there is none."""
    if not sys.stdout.isatty():
        return PIPE_WIDTH
    return shutil.get_terminal_size((80, 24)).columns


def say(text: str, *, file: TextIO | None = None) -> None:
    """Print one line; control characters that a name may hold are made visible, not obeyed."""
    stream = file or sys.stdout
    stream.write(make_visible(text) + "\n")
    stream.flush()


def say_prose(text: str, indent: str = "") -> None:
    """Print sentences: wrapped for a terminal, and as one line for a program."""
    if not sys.stdout.isatty():
        say(f"{indent}{text}")
        return
    width = min(PROSE_WIDTH, get_terminal_width())
    wrapped = textwrap.wrap(
        make_visible(text), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    for line in wrapped:
        say(line)


def print_json(value: Any, *, one_line: bool = False) -> None:
    """Print a value, with the views in it, as JSON in ASCII, which every stream can carry."""
    sys.stdout.write(json.dumps(value, indent=None if one_line else 2, default=_dump_view) + "\n")
    sys.stdout.flush()


def _dump_view(view: Any) -> dict[str, Any]:
    from heldout.views.base import dump_json  # a caller with a view has already loaded this

    return dump_json(view)


Cell = str | int | None


def print_blocks(blocks: "Sequence[Block]") -> None:
    """Print the blocks of a document."""
    from heldout.documents.terminal import render_terminal  # slow to load, and most commands show no document

    for line in render_terminal(blocks, get_terminal_width() if sys.stdout.isatty() else None):
        say(line)


@dataclass(frozen=True)
class Table:
    """Format rows in columns, without lines: easy to read and cut. None is a dash; numbers have thousands separators.

    right: the indices of right-aligned columns.
    fewest: if the table is too wide for the terminal, its last columns are left out, down to this number; None keeps
    all.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: Sequence[int] = ()
    fewest: int | None = None

    @property
    def lines(self) -> list[str]:
        cells = [[_format_cell(cell) for cell in row] for row in [self.headings, *self.rows]]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        columns, fewest = len(widths), self.fewest or len(widths)
        while columns > fewest and sum(widths[:columns]) + len(BETWEEN) * (columns - 1) > get_terminal_width():
            columns -= 1
        return align([row[:columns] for row in cells], self.right)


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: Sequence[int] = (), fewest: int | None = None
) -> None:
    for line in Table(headings, rows, right, fewest).lines:
        say(line)


def _format_cell(cell: Cell) -> str:
    if cell is None:
        return NONE
    return f"{cell:,}" if isinstance(cell, int) else make_visible(cell)


def print_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Print names and values, one pair per line; names without a value are left out."""
    known = [(name, value) for name, value in fields if value]
    width = max(len(name) for name, _ in known)
    for name, value in known:
        say(f"{name.ljust(width)}  {value}")


@contextmanager
def show_waiting(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Report on standard error what is being waited for: in one line that is overwritten, or else a line each time.

    Yields the function that shows a text, such as `waiting for a worker: 12 s`.
    """
    drawn = is_terminal(sys.stderr)

    def tell(text: str) -> None:
        if not quiet:
            _write(f"\r\033[K{text}") if drawn else say(text, file=sys.stderr)

    try:
        yield tell
    finally:
        if drawn and not quiet:
            _write("\r\033[K")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _open_closed_streams() -> None:
    """A program started with closed streams must not open its files in their places."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115


def _replace_with_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_ASCII.get(c, "?") for c in text), error.end
