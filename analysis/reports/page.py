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


STYLE = Markup("""
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2126; --quiet: #58626d; --line: #d5dae0; --grid: #e7eaee;
  --card: #f4f6f8; --better: #00695c; --worse: #b23c00; --chance: #6b7580; --held: #1f5fbf; --warn: #fff3d6; }
@media (prefers-color-scheme: dark) { :root { --paper: #15191d; --ink: #e6eaee; --quiet: #a3adb8; --line: #39424b;
  --grid: #2a3138; --card: #1f252b; --better: #4dc9b5; --worse: #ff9a62; --chance: #a3adb8; --held: #82b1ff;
  --warn: #3d3213; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
h1, h2, h3, p, dd, dt, td, th, figcaption, caption { overflow-wrap: anywhere; }
.kind, .about { color: var(--quiet); margin: 0 0 .4rem; font-size: .9rem; }
.lead { font-size: 1.15rem; font-weight: 600; background: var(--card); border-left: .35rem solid var(--chance);
  padding: .8rem 1rem; margin: 0 0 .8rem; }
.lead.found { border-color: var(--better); }
.notice { background: var(--warn); padding: .6rem 1rem; margin: 0 0 1rem; }
.hint { color: var(--quiet); max-width: 48rem; }
dl { margin: 1rem 0; }
dl div { display: grid; grid-template-columns: 14rem 1fr; gap: .2rem 1rem; padding: .5rem 0;
  border-top: 1px solid var(--line); }
dt { font-weight: 600; }
dd { margin: 0; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 1.5rem; font-size: .92rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { text-align: left; padding: .35rem .5rem; border-top: 1px solid var(--line); vertical-align: middle; }
thead th { color: var(--quiet); font-weight: 500; vertical-align: bottom; border-top: 0; }
tbody th { font-weight: 500; min-width: 8rem; }
td { min-width: 4rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead .number { white-space: normal; overflow-wrap: normal; }
.marked th, .marked td { background: var(--card); font-weight: 700; }
.picture { position: relative; width: 34%; min-width: 11rem; height: 2.4rem; padding: 0; }
.strip { position: absolute; left: 0; top: 0; width: 100%; height: 100%; overflow: visible; }
.strip text { fill: var(--quiet); font-size: 12px; }
.strip .end { font-weight: 600; }
.grid { stroke: var(--grid); }
.zero { stroke: var(--ink); stroke-width: 1.5; }
.bar { stroke-width: 7; stroke-opacity: .45; }
.cap { stroke-width: 2; }
.bar.better, .cap.better { stroke: var(--better); } .dot.better { fill: var(--better); }
.bar.worse, .cap.worse { stroke: var(--worse); } .dot.worse { fill: var(--worse); }
.bar.may_be_chance, .cap.may_be_chance { stroke: var(--chance); } .dot.may_be_chance { fill: var(--chance); }
.bar.gap { stroke: var(--held); } .dot.heldout { fill: var(--held); }
.ring { fill: var(--paper); stroke: var(--ink); stroke-width: 2; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; max-width: 32rem; border: 1px solid var(--line); padding: .5rem; break-inside: avoid; }
figcaption { font-weight: 600; }
.chart { display: block; width: 100%; height: auto; }
.chart text { fill: var(--quiet); font-size: 11px; }
.chart .name { font-weight: 600; }
.mean { fill: none; stroke-width: 2; }
.mean.train { stroke: var(--quiet); stroke-dasharray: 5 4; } .mean.heldout { stroke: var(--held); }
.mean.forecast { stroke: var(--quiet); stroke-dasharray: 5 4; }
.band.train { fill: var(--quiet); fill-opacity: .15; } .band.heldout { fill: var(--held); fill-opacity: .2; }
.point.heldout { fill: var(--held); } .point.train { fill: var(--quiet); }
.point.forecast { fill: var(--paper); stroke: var(--held); stroke-width: 2; }
.whisker { stroke-width: 2; stroke: var(--held); }
code { font-family: ui-monospace, monospace; font-size: .92em; }
pre code { font-size: 1em; }
pre { background: var(--card); padding: .8rem; overflow-x: auto; font-size: .82rem; line-height: 1.4;
  max-height: 24rem; }
@media screen and (max-width: 44rem) {
  dl div { grid-template-columns: 1fr; }
  table, tbody, thead, tr, th, td, caption { display: block; }
  thead th { display: none; }
  thead th.picture { display: block; }
  tbody tr { border-top: 1px solid var(--line); padding: .4rem 0; }
  tbody th, tbody td { border: 0; padding: .1rem .5rem; display: flex; gap: 1rem; justify-content: space-between; }
  tbody th { font-weight: 700; }
  tbody td:not(.picture)::before { content: attr(data-name); color: var(--quiet); font-weight: 400; text-align: left;
    flex: 0 0 auto; max-width: 45%; }
  tbody td, .number { text-align: right; }
  .picture { width: 100%; }
  td.picture:empty { display: none; }
}
@media print {
  :root { --paper: #ffffff; --ink: #000000; --quiet: #444444; --line: #bbbbbb; --grid: #dddddd; --card: #f2f2f2;
    --better: #00695c; --worse: #b23c00; --chance: #6b7580; --held: #1f5fbf; --warn: #f2f2f2; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 10pt; }
  table { font-size: 9pt; }
  .picture { min-width: 9rem; height: 2rem; }
  .panels { grid-template-columns: repeat(3, 1fr); }
  pre { font-size: 7.5pt; }
  main { max-width: none; padding: 0; }
  h2, h3, caption, .hint { break-after: avoid; }
  tr, .lead, dl div { break-inside: avoid; }
  pre { max-height: none; white-space: pre-wrap; overflow-wrap: anywhere; }
}
""")
