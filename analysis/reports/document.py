"""A document for readers: its blocks, and its two forms, GitHub's Markdown and one page of HTML.

Both show the same blocks; pictures are only in HTML, next to their tables. Text in backticks is code, and a text
contains no other markup. The page loads nothing and needs no network.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.markup import Markup, join_children, make_visible, tag

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


# The page loads nothing, even if a browser finds markup that should not be there.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = Markup(Path(__file__).with_name("document.css").read_text(encoding="utf-8"))

# --- Markdown ---------------------------------------------------------------------------------------------

# Characters that start markup anywhere in a text. Underscores inside words do not.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#|~&!$]|(?<![^\W_])_|_(?![^\W_])")
# Not every reader of Markdown knows that a backslash escapes these, and all know entities.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Code with these is written as text: a bar ends a cell even in code, and after another's backtick, `<` begins a tag.
_NO_CODE = re.compile("[<|]")
# Text that GitHub turns into a link by itself.
_LINK = re.compile(r":(?=//)|(?<=\bwww)\.|@", re.IGNORECASE)
FENCE = "```"


def render_markdown(document: Document) -> str:
    parts = [f"# {_write_text(document.question)}"]
    if document.notice is not None:
        parts.append(f"> {_write_text(document.notice)}")
    parts += [f"**{_write_text(document.lead)}**", _write_text(document.about)]
    parts += [written for block in document.blocks if (written := _write_block(block))]
    return "\n\n".join(parts) + "\n"


def _write_block(block: Block) -> str:
    match block:
        case Heading():
            return f"## {_write_text(block.text)}"
        case Paragraph():
            return _write_text(block.text if block.in_markdown is None else block.in_markdown)
        case Definitions():
            return "\n".join(f"- **{_write_text(name)}** {_write_text(said)}" for name, said in block.pairs)
        case ReportTable():
            return _write_table(block)
        case Listing():
            code = "\n".join(map(make_visible, block.text.split("\n")))  # no line can end it, as JSON in it is ASCII
            return f"{_write_text(block.caption)}:\n\n{FENCE}{block.language}\n{code}\n{FENCE}"
        case Panels():
            return ""


def _write_table(table: ReportTable) -> str:
    """The columns without pictures."""
    kept = [place for place, heading in enumerate(table.headings) if not isinstance(heading, TablePicture)]
    rules = ["---:" if place in table.numbers else "---" for place in kept]
    rows = [[_write_text(str(table.headings[place])) for place in kept], rules]
    for number, row in enumerate(table.rows):
        cells = [_write_text(str(row[place])) for place in kept]
        rows.append([f"**{cell}**" if cell else "" for cell in cells] if number in table.marked else cells)
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{_write_text(table.caption)}\n\n{lines}"


def _write_text(text: str) -> str:
    """The text as it is: on one line, without links, and with code as the only markup."""
    return "".join(
        f"`{make_visible(part)}`" if is_code and not _NO_CODE.search(part) else _escape(part)
        for part, is_code in split_code(text)
    )


def _escape(text: str) -> str:
    escaped = _SPECIAL.sub(lambda found: _ENTITIES.get(found[0], "\\" + found[0]), make_visible(text))
    return _LINK.sub(lambda found: "\\" + found[0], escaped)


# --- HTML -------------------------------------------------------------------------------------------------


def render_page(document: Document) -> str:
    """The whole file, which is also well-formed XML."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", document.title),
        tag("style", STYLE),
    )
    notice = (
        None if document.notice is None else tag("p", _render_text(document.notice), class_="notice", role="status")
    )
    top = tag(
        "header",
        tag("p", "Heldout: report of a study", class_="kind"),
        tag("h1", _render_text(document.question)),
        notice,
        tag("p", _render_text(document.lead), class_="lead found" if document.has_cure else "lead"),
        tag("p", _render_text(document.about), class_="about"),
    )
    body = tag("body", tag("main", top, [_render_block(block) for block in document.blocks]))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _render_block(block: Block) -> Markup:
    match block:
        case Heading():
            return tag("h2", block.text)
        case Paragraph():
            return tag("p", _render_text(block.text), class_="hint" if block.is_hint else None)
        case Definitions():
            pairs = [tag("div", tag("dt", name), tag("dd", _render_text(said))) for name, said in block.pairs]
            return tag("dl", pairs)
        case ReportTable():
            return _render_table(block)
        case Panels():
            figures = [
                tag("figure", tag("figcaption", panel.title) if panel.title else None, panel.svg)
                for panel in block.panels
            ]
            return tag("div", figures, class_="panels")
        case Listing():
            lines = [Markup(join_children(line) + "\n") for line in block.text.split("\n")]
            listing = tag("pre", tag("code", *lines), tabindex=0)
            return tag("section", tag("h3", _render_text(block.caption)), listing, class_="listing")


def _render_table(table: ReportTable) -> Markup:
    """A table whose cells name their headings, because a narrow screen shows each row as a card (see the style)."""
    names = [heading.name if isinstance(heading, TablePicture) else heading for heading in table.headings]
    heads = [
        tag("th", _render_cell(heading), scope="col", role="columnheader", class_=_choose_class(table, place, heading))
        for place, heading in enumerate(table.headings)
    ]
    rows = []
    for number, row in enumerate(table.rows):
        cells = [
            tag(
                "th" if place == 0 else "td",
                _render_cell(cell),
                scope="row" if place == 0 else None,
                role="rowheader" if place == 0 else "cell",
                data_name=names[place],
                class_=_choose_class(table, place, table.headings[place]),
            )
            for place, cell in enumerate(row)
        ]
        rows.append(tag("tr", cells, role="row", class_="marked" if number in table.marked else None))
    return tag(
        "table",
        tag("caption", _render_text(table.caption)),
        tag("thead", tag("tr", heads, role="row"), role="rowgroup"),
        tag("tbody", rows, role="rowgroup"),
        role="table",
    )


def _render_cell(cell: Cell) -> Markup:
    if isinstance(cell, TablePicture):
        return join_children(cell.svg, tag("span", cell.name, class_="unseen") if cell.name else None)
    return _render_text(cell)


def _choose_class(table: ReportTable, place: int, heading: Cell) -> str | None:
    if isinstance(heading, TablePicture):
        return "picture"
    return "number" if place in table.numbers else None


def _render_text(text: str) -> Markup:
    return join_children(tag("code", part) if is_code else part for part, is_code in split_code(text))
