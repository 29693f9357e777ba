"""The blocks of a report. Markdown and HTML show the same ones; pictures are only in HTML, next to their tables.

Text in backticks is code. A text contains no other markup.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from heldout.markup import Markup

_CODE = re.compile(r"`([^`]+)`")


def split_code(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text, each with whether it is code."""
    for place, part in enumerate(_CODE.split(text)):
        if part:
            yield part, place % 2 == 1


def strip_code(text: str) -> str:
    """Return a user's text without characters that would make it code."""
    return text.replace("`", "'")


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Paragraph:
    """is_hint: whether it explains how to read something. in_markdown: the text without pictures; "" for no text."""

    text: str
    is_hint: bool = False
    in_markdown: str | None = None


@dataclass(frozen=True)
class Definitions:
    """Questions or words, each with its explanation."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class TablePicture:
    """A picture in a cell of a table. The other cells show its figures. name: the column's name, in a heading."""

    svg: Markup
    name: str = ""


Cell = str | TablePicture


@dataclass(frozen=True)
class ReportTable:
    """rows: cells in the order of the headings. marked: positions of highlighted rows.

    numbers: places of columns with numbers.
    """

    caption: str
    headings: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    marked: Sequence[int] = ()
    numbers: Sequence[int] = ()


@dataclass(frozen=True)
class Panel:
    """One picture with its title."""

    title: str
    svg: Markup


@dataclass(frozen=True)
class Panels:
    """Pictures side by side; the table after them has their figures."""

    panels: Sequence[Panel]


@dataclass(frozen=True)
class Listing:
    """Commands or JSON, to be copied."""

    caption: str
    text: str
    language: str


Block = Heading | Paragraph | Definitions | ReportTable | Panels | Listing


@dataclass(frozen=True)
class Document:
    """title: of the page. notice: what the reader must know first.

    lead: the answer. has_cure: whether the answer names a cure.
    """

    title: str
    question: str
    notice: str | None
    lead: str
    has_cure: bool
    about: str
    blocks: Sequence[Block]
