"""A document as one complete page of HTML. It loads no scripts, fonts or pictures, and needs no network."""

from analysis.reports.document import (
    Block,
    Cell,
    Definitions,
    Document,
    Heading,
    Listing,
    Panels,
    Paragraph,
    ReportTable,
    TablePicture,
    split_code,
)
from analysis.reports.style import STYLE
from heldout.markup import Markup, join_children, tag

# The page loads nothing, even if a browser finds markup that should not be there.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


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
            listing = tag("pre", tag("code", *_render_lines(block.text)), tabindex=0)
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


def _render_lines(text: str) -> list[Markup]:
    """The lines of a listing. Everything except the line ends is escaped."""
    return [Markup(join_children(line) + "\n") for line in text.split("\n")]
