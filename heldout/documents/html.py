"""A document as one page of HTML that loads nothing and needs no network, or as a part of a notebook."""

from collections.abc import Sequence
from pathlib import Path

from heldout.documents.blocks import (
    Action,
    Block,
    Cell,
    Details,
    Document,
    Epochs,
    Facts,
    Figure,
    Heading,
    Item,
    Items,
    Listing,
    Panels,
    Paragraph,
    Report,
    Table,
    TablePicture,
    split_code,
    tabulate,
)
from heldout.markup import Markup, join_children, tag

# The page loads nothing, even if a browser finds markup that should not be there.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))


def render_page(document: Document | Report) -> str:
    """The whole file, which is also well-formed XML."""
    head = render_head(document.title)
    top = tag("h1", document.title) if isinstance(document, Document) else _render_top(document)
    body = tag("body", tag("main", top, [_render_block(block) for block in document.blocks]))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def render_head(title: str, policy: str = POLICY, style: Markup = STYLE) -> Markup:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", style),
    )


def render_notebook(blocks: Sequence[Block]) -> str:
    """The blocks alone, in the notebook's own style."""
    return tag("div", [_render_block(block) for block in blocks], class_="heldout")


def _render_top(report: Report) -> Markup:
    notice = None if report.notice is None else tag("p", render_text(report.notice), class_="notice", role="status")
    return tag(
        "header",
        tag("p", "Heldout: report of a study", class_="kind"),
        tag("h1", render_text(report.question)),
        notice,
        tag("p", render_text(report.lead), class_="lead found" if report.has_cure else "lead"),
        tag("p", render_text(report.about), class_="about"),
    )


def _render_block(block: Block) -> Markup:
    match block:
        case Heading():
            about = tag("p", render_text(block.about), class_="about") if block.about else None
            return join_children(tag(f"h{block.level}", render_text(block.text)), about)
        case Paragraph():
            return tag("p", render_text(block.text), class_=None if block.tone == "plain" else block.tone)
        case Epochs():
            return tag("p", block.text)
        case Facts():
            pairs = [tag("div", tag("dt", fact.name), tag("dd", render_text(fact.line))) for fact in block.facts]
            return tag("dl", pairs)
        case Action():
            return tag("p", render_text(f"{block.line} {block.note}".rstrip()))
        case Items():
            title = tag("p", tag("strong", block.title)) if block.title else None
            return join_children(title, tag("ol" if block.is_ordered else "ul", map(_render_item, block.items)))
        case Figure():
            return join_children(
                join_children(
                    tag("figure", chart.draw(), class_="wide"), _render_table(table), tag("p", note, class_="hint")
                )
                for chart, (table, note) in zip(block.charts, tabulate(block), strict=True)
            )
        case Details():
            summary = tag("summary", "Details")
            return tag("details", summary, [_render_block(inner) for inner in block.blocks])
        case Table():
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
            return tag("section", tag("h3", render_text(block.caption)), listing, class_="listing")


def _render_item(item: Item) -> Markup:
    action = None if item.action is None else tag("p", render_text(item.action.line))
    text = tag("p", render_text(item.text)) if item.text else None
    return tag("li", tag("strong", item.title), text, action)


def _render_table(table: Table) -> Markup:
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
        tag("caption", render_text(table.caption)),
        tag("thead", tag("tr", heads, role="row"), role="rowgroup"),
        tag("tbody", rows, role="rowgroup"),
        role="table",
    )


def _render_cell(cell: Cell) -> Markup:
    if isinstance(cell, TablePicture):
        return join_children(cell.svg, tag("span", cell.name, class_="unseen") if cell.name else None)
    return render_text(cell)


def _choose_class(table: Table, place: int, heading: Cell) -> str | None:
    if isinstance(heading, TablePicture):
        return "picture"
    return "number" if place in table.numbers else None


def render_text(text: str) -> Markup:
    return join_children(tag("code", part) if is_code else part for part, is_code in split_code(text))
