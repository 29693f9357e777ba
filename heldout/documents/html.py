"""A document as one page of HTML that loads nothing and needs no network, or as a part of a notebook."""

from collections.abc import Sequence
from pathlib import Path

from heldout.documents.blocks import (
    Action,
    Block,
    Details,
    Document,
    Epochs,
    Facts,
    Figure,
    Heading,
    ImageGroup,
    Images,
    Item,
    Items,
    Listing,
    Panels,
    Paragraph,
    Table,
    split_code,
)
from heldout.documents.strips import Axis, Strip, draw_axis, draw_strip
from heldout.markup import Markup, join_children, tag

# The page loads nothing, even if a browser finds markup that should not be there.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"
STYLE = Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))


def render_page(document: Document) -> str:
    """Render the whole file, which is also well-formed XML."""
    head = _render_head(document.title)
    top = tag("h1", render_text(document.title))
    body = tag("body", tag("main", top, map(_render_block, document.blocks)))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _render_head(title: str) -> Markup:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", STYLE),
    )


def render_notebook(blocks: Sequence[Block]) -> str:
    """Render the blocks alone, in the notebook's own style."""
    return tag("div", [_render_block(block) for block in blocks], class_="heldout")


def _render_block(block: Block) -> Markup:
    match block:
        case Heading():
            about = tag("p", render_text(block.about), class_="about") if block.about else None
            return join_children(tag(f"h{block.level}", render_text(block.text)), about)
        case Paragraph():
            class_ = {"plain": None, "picture": "hint"}.get(block.tone, block.tone)
            return tag("p", render_text(block.text), class_=class_)
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
            return join_children(map(_render_block, block.charts))
        case Images():
            return tag("div", map(_render_images, block.groups), class_="images")
        case Details():
            summary = tag("summary", "Details")
            return tag("details", summary, [_render_block(inner) for inner in block.blocks])
        case Table():
            hint = tag("p", render_text(block.note), class_="hint") if block.note else None
            return join_children(_render_table(block), hint)
        case Panels():
            figures = [
                tag("figure", tag("figcaption", panel.title) if panel.title else None, panel.charts)
                for panel in block.panels
            ]
            return join_children(tag("p", block.hint, class_="hint"), tag("div", figures, class_="panels"))
        case Listing():
            lines = [Markup(join_children(line) + "\n") for line in block.code.split("\n")]
            listing = tag("pre", tag("code", *lines), tabindex=0)
            return tag("section", tag("h3", render_text(block.caption)), listing, class_="listing")


def _render_item(item: Item) -> Markup:
    action = None if item.action is None else tag("p", render_text(item.action.line))
    text = tag("p", render_text(item.text)) if item.text else None
    return tag("li", tag("strong", item.title), text, action)


def _render_images(group: ImageGroup) -> Markup:
    figures = [
        tag(
            "figure",
            tag("img", src=image.source, alt=image.place) if image.source else None,
            tag("figcaption", image.place, tag("br") if image.note else None, image.note or None),
        )
        for image in group.images
    ]
    return tag("div", figures, class_="pair" if len(figures) > 1 else None)


def _render_table(table: Table) -> Markup:
    """A table whose cells name their headings, because a narrow screen shows each row as a card (see the style)."""
    names = [heading.name if isinstance(heading, Axis) else heading for heading in table.headings]
    classes = [
        "picture" if isinstance(heading, Axis) else "number" if place in table.numbers else None
        for place, heading in enumerate(table.headings)
    ]
    heads = [
        tag("th", _render_heading(heading), scope="col", role="columnheader", class_=class_)
        for heading, class_ in zip(table.headings, classes, strict=True)
    ]
    rows = []
    for number, row in enumerate(table.rows):
        cells = [
            tag(
                "th" if place == 0 else "td",
                draw_strip(cell, heading)
                if isinstance(cell, Strip) and isinstance(heading, Axis)
                else render_text(str(cell)),
                scope="row" if place == 0 else None,
                role="rowheader" if place == 0 else "cell",
                data_name=names[place],
                class_=classes[place],
            )
            for place, (cell, heading) in enumerate(zip(row, table.headings, strict=True))
        ]
        rows.append(tag("tr", cells, role="row", class_="marked" if number in table.marked else None))
    return tag(
        "table",
        tag("caption", render_text(table.caption)) if table.caption else None,
        tag("thead", tag("tr", heads, role="row"), role="rowgroup"),
        tag("tbody", rows, role="rowgroup"),
        role="table",
    )


def _render_heading(heading: str | Axis) -> Markup:
    if isinstance(heading, Axis):
        return join_children(draw_axis(heading), tag("span", heading.name, class_="unseen"))
    return render_text(heading)


def render_text(text: str) -> Markup:
    return join_children(tag("code", part) if is_code else part for part, is_code in split_code(text))
