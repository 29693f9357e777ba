"""The blocks of a document. Every medium renders the same ones, so order, wording and rounding are the same everywhere.

Text in backticks is code, and a text contains no other markup.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from heldout.documents.charts import Chart
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


def dump_listed_json(value: Any, **options: Any) -> str:
    """Write JSON for a listing, without `<` and backticks: no name in it is HTML, even where fences are unknown."""
    return json.dumps(value, **options).replace("<", "\\u003c").replace("`", "\\u0060")


@dataclass(frozen=True)
class Heading:
    """code: of the verdict or finding that it names. marks: what else is known at a glance, such as its severity."""

    text: str
    level: int = 2
    code: str = ""
    marks: Sequence[str] = ()
    kind: Literal["heading"] = "heading"

    @property
    def about(self) -> str:
        """`leakage: copied images, sure`, or without a code that the words show: `healthy, likely`."""
        is_plain = self.code.replace("_", " ") in {self.text.lower(), *self.marks}
        return ": ".join(filter(None, ("" if is_plain else self.code, ", ".join(self.marks))))


@dataclass(frozen=True)
class Paragraph:
    """tone: a `sentence` is what to read if nothing else; `hint` explains how to read something, `caution` warns.

    in_markdown: the text without pictures; "" for no text.
    """

    text: str
    tone: Literal["plain", "sentence", "hint", "caution"] = "plain"
    in_markdown: str | None = None
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True)
class Epochs:
    """The epochs that matter, which pages also mark in the curves: of the lowest validation loss, and of its rise."""

    text: str
    best: int | None
    onset: int | None
    kind: Literal["epochs"] = "epochs"


@dataclass(frozen=True)
class Fact:
    """note: continues the text in a quieter voice: `of 400 images`."""

    name: str
    text: str
    note: str = ""

    @property
    def line(self) -> str:
        return f"{self.text} {self.note}".rstrip()


@dataclass(frozen=True)
class Facts:
    """Names or questions, each with its figure or explanation."""

    facts: Sequence[Fact]
    kind: Literal["facts"] = "facts"

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Facts":
        return cls([Fact(*pair) for pair in pairs])


@dataclass(frozen=True)
class Action:
    """Something to do about what a block says: a command, and a button or link of the dashboard.

    page: the dashboard's page. If there is a request to `post`, its answer's id replaces `{id}` in it.
    is_ready: whether it can be done now; `note` says when, or what it does.
    """

    label: str
    command: str
    page: str
    post: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    is_main: bool = False
    is_ready: bool = True
    kind: Literal["action"] = "action"

    @property
    def line(self) -> str:
        return f"{self.label}: `{self.command}`"


@dataclass(frozen=True)
class Item:
    """A cause or a remedy. code: by which commands know it. size: what it costs, such as `0.6 points`."""

    name: str
    text: str
    code: str = ""
    size: str = ""
    action: Action | None = None

    @property
    def title(self) -> str:
        """`L2 penalty (l2)`: with its size, and with the code if the name does not show it."""
        code = "" if self.code.replace("_", " ") == self.name.lower() else self.code
        about = ", ".join(filter(None, (code, self.size)))
        return f"{self.name} ({about})" if about else self.name


@dataclass(frozen=True)
class Items:
    """Causes in the order in which to fix them, or remedies to choose from."""

    items: Sequence[Item]
    title: str = ""
    is_ordered: bool = False
    kind: Literal["items"] = "items"


@dataclass(frozen=True)
class Figure:
    """The same thing in one or more charts, of which a page shows one at a time."""

    label: str
    charts: Sequence[Chart]
    kind: Literal["figure"] = "figure"


@dataclass(frozen=True)
class Details:
    """Evidence, which pages fold away."""

    blocks: "Sequence[PageBlock]"
    kind: Literal["details"] = "details"


PageBlock = Heading | Paragraph | Epochs | Facts | Action | Items | Figure | Details


@dataclass(frozen=True)
class Document:
    """What the dashboard and programs get. title: of a page that shows nothing else."""

    title: str
    blocks: Sequence[PageBlock]
    object: Literal["document"] = "document"


# --- blocks of reports alone ------------------------------------------------------------------------------


@dataclass(frozen=True)
class TablePicture:
    """A picture in a cell of a table. The other cells show its figures. name: the column's name, in a heading."""

    svg: Markup
    name: str = ""


Cell = str | TablePicture


@dataclass(frozen=True)
class Table:
    """rows: cells in the order of the headings. marked: positions of highlighted rows.

    numbers: places of columns with numbers.
    """

    caption: str
    headings: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    marked: Sequence[int] = ()
    numbers: Sequence[int] = ()


def tabulate(figure: Figure, *, explained: bool = True) -> list[tuple[Table, str]]:
    """The numbers of each chart, and how to read them. explained: whether the first one explains its rows."""
    tables = []
    for place, chart in enumerate(figure.charts):
        kept = slice(None if explained and place == 0 else -1)
        rows = [row[kept] for row in chart.rows]
        tables.append((Table(chart.title, chart.headings[kept], rows, numbers=(1, 2)), chart.note))
    return tables


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


Block = PageBlock | Table | Panels | Listing


@dataclass(frozen=True)
class Report:
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
