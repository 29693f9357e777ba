"""The blocks of a document. Every medium renders the same ones, so order, wording and rounding are the same everywhere.

Text in backticks is code, and a text contains no other markup.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from heldout.documents.strips import Axis, Strip

_LISTED_IMAGES = 5
_CODE = re.compile(r"`([^`]+)`")


def split_code(text: str) -> Iterator[tuple[str, bool]]:
    """Return the parts of a text, each with whether it is code."""
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
    """code: of the verdict or finding that it names. marks: what else is known at a glance, such as its severity.

    is_folded: whether pages fold away what follows, up to the next heading of its level.
    """

    text: str
    level: int = 2
    code: str = ""
    marks: Sequence[str] = ()
    is_folded: bool = False
    kind: Literal["heading"] = "heading"

    @property
    def about(self) -> str:
        """`leakage: copied images, sure`, or without a code that the words show: `healthy, likely`."""
        is_plain = self.code.replace("_", " ") in {self.text.lower(), *self.marks}
        return ": ".join(filter(None, ("" if is_plain else self.code, ", ".join(self.marks))))


@dataclass(frozen=True)
class Paragraph:
    """tone: a `sentence` is what to read if nothing else; `hint` explains how to read something, `caution` warns.

    A `picture` explains pictures, and is left out where there are none.
    """

    text: str
    tone: Literal["plain", "sentence", "hint", "caution", "picture"] = "plain"
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
    """note: continues the text in a quieter voice: `of 400 images`.

    page: of the dashboard, about the thing that the text names. time: for pages, which write it in the reader's zone.
    """

    name: str
    text: str
    note: str = ""
    page: str = ""
    time: str = ""

    @classmethod
    def at(cls, name: str, moment: datetime | None) -> "Fact":
        return cls(name, "") if moment is None else cls(name, f"{moment:%Y-%m-%d %H:%M} UTC", time=moment.isoformat())

    @property
    def line(self) -> str:
        return f"{self.text} {self.note}".rstrip()


def keep_known(*facts: Fact) -> list[Fact]:
    """Leave out facts without a text."""
    return [fact for fact in facts if fact.text]


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

    page: the dashboard's page. If there is a request to `post`, its answer's id replaces `{id}` in it; without a page,
    the document is loaded again. is_ready: whether it can be done now; `note` says when, or what it does.
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

    @property
    def label(self) -> str:
        """The title as the beginning of a line, with a colon unless it is a question."""
        return self.title if self.title.endswith("?") else f"{self.title}:"


@dataclass(frozen=True)
class Items:
    """Causes in the order in which to fix them, remedies to choose from, or questions with answers."""

    items: Sequence[Item]
    title: str = ""
    is_ordered: bool = False
    kind: Literal["items"] = "items"


Cell = str | Strip


@dataclass(frozen=True)
class Table:
    """Figures in rows, with strips as pictures of them.

    rows: cells in the order of the headings; each column of strips has an axis as its heading. marked: highlighted
    rows. numbers: columns with numbers. remarks: columns of sentences about the row, which terminals leave out.
    note: how to read it. name: what it shows, in one word.
    """

    caption: str
    headings: Sequence[str | Axis]
    rows: Sequence[Sequence[Cell]]
    marked: Sequence[int] = ()
    numbers: Sequence[int] = ()
    remarks: Sequence[int] = ()
    note: str = ""
    name: str = ""
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Figure:
    """The same thing in one or more tables with strips, of which a page shows one at a time."""

    label: str
    charts: Sequence[Table]
    kind: Literal["figure"] = "figure"


@dataclass(frozen=True)
class Image:
    """source: an address. place: which image of the dataset it is, in words."""

    source: str
    place: str
    note: str = ""


@dataclass(frozen=True)
class ImageGroup:
    """One image, or several that belong together, and an action about them."""

    images: Sequence[Image]
    action: Action | None = None


@dataclass(frozen=True)
class Images:
    """sign: written between images of a group. shown: how many groups a page shows at first."""

    groups: Sequence[ImageGroup]
    sign: str = "="
    shown: int = 12
    kind: Literal["images"] = "images"

    @property
    def lines(self) -> list[str]:
        """The first groups in words."""
        written = [
            f" {self.sign} ".join(image.place for image in group.images) for group in self.groups[:_LISTED_IMAGES]
        ]
        more = len(self.groups) - len(written)
        return [*written, f"and {more:,} more (--json lists them)"] if more else written


@dataclass(frozen=True)
class Listing:
    """Commands or JSON, to be copied."""

    caption: str
    code: str
    language: str
    kind: Literal["listing"] = "listing"


@dataclass(frozen=True)
class Panel:
    """One picture with its title, as SVG elements that stand alone."""

    title: str
    charts: Sequence[str]


@dataclass(frozen=True)
class Panels:
    """Pictures side by side; the table after them has their figures. hint: how to read them."""

    panels: Sequence[Panel]
    hint: str
    kind: Literal["panels"] = "panels"


@dataclass(frozen=True)
class Details:
    """Evidence, which pages fold away."""

    blocks: "Sequence[Block]"
    kind: Literal["details"] = "details"


Block = Heading | Paragraph | Epochs | Facts | Action | Items | Figure | Table | Images | Listing | Panels | Details


@dataclass(frozen=True)
class Document:
    """A page about one thing. It begins with the facts of the thing, if there are any."""

    title: str
    blocks: Sequence[Block]
    object: Literal["document"] = "document"
