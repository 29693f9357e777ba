"""A document as one page of HTML that needs nothing else: no network, scripts, fonts or pictures from outside."""

from analysis.reports.document import (
    Block,
    Cell,
    Document,
    Facts,
    Heading,
    Listing,
    Panels,
    Paragraph,
    Picture,
    Table,
    parts_of,
)
from analysis.reports.style import STYLE
from heldout.markup import Markup, element, joined

# Even a browser that finds markup where there should be none loads nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def as_page(document: Document) -> str:
    """The whole file, well-formed as XML too."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", document.title),
        element("style", STYLE),
    )
    notice = None if document.notice is None else element("p", _text(document.notice), class_="notice", role="status")
    top = element(
        "header",
        element("p", "Heldout: report of a study", class_="kind"),
        element("h1", _text(document.question)),
        notice,
        element("p", _text(document.lead), class_="lead found" if document.has_cure else "lead"),
        element("p", _text(document.about), class_="about"),
    )
    body = element("body", element("main", top, [_block(block) for block in document.blocks]))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _block(block: Block) -> Markup:
    match block:
        case Heading():
            return element("h2", block.text)
        case Paragraph():
            return element("p", _text(block.text), class_="hint" if block.is_hint else None)
        case Facts():
            pairs = [element("div", element("dt", name), element("dd", _text(said))) for name, said in block.pairs]
            return element("dl", pairs)
        case Table():
            return _table(block)
        case Panels():
            figures = [
                element("figure", element("figcaption", one.title) if one.title else None, one.svg)
                for one in block.panels
            ]
            return element("div", figures, class_="panels")
        case Listing():
            listing = element("pre", element("code", *_lines(block.text)), tabindex=0)
            return element("section", element("h3", _text(block.caption)), listing, class_="listing")


def _table(table: Table) -> Markup:
    """On a narrow screen each row becomes a card (see the style), so every cell knows its heading."""
    names = [one.name if isinstance(one, Picture) else one for one in table.headings]
    heads = [
        element("th", _shown(one), scope="col", role="columnheader", class_=_class_of(table, place, one))
        for place, one in enumerate(table.headings)
    ]
    rows = []
    for number, row in enumerate(table.rows):
        cells = [
            element(
                "th" if place == 0 else "td",
                _shown(cell),
                scope="row" if place == 0 else None,
                role="rowheader" if place == 0 else "cell",
                data_name=names[place],
                class_=_class_of(table, place, table.headings[place]),
            )
            for place, cell in enumerate(row)
        ]
        rows.append(element("tr", cells, role="row", class_="marked" if number in table.marked else None))
    return element(
        "table",
        element("caption", _text(table.caption)),
        element("thead", element("tr", heads, role="row"), role="rowgroup"),
        element("tbody", rows, role="rowgroup"),
        role="table",
    )


def _shown(cell: Cell) -> Markup:
    if isinstance(cell, Picture):
        return joined(cell.svg, element("span", cell.name, class_="unseen") if cell.name else None)
    return _text(cell)


def _class_of(table: Table, place: int, heading: Cell) -> str | None:
    if isinstance(heading, Picture):
        return "picture"
    return "number" if place in table.numbers else None


def _text(text: str) -> Markup:
    return joined(element("code", part) if is_code else part for part, is_code in parts_of(text))


def _lines(text: str) -> list[Markup]:
    """Lines of a listing: only their ends are not escaped."""
    return [Markup(joined(line) + "\n") for line in text.split("\n")]
