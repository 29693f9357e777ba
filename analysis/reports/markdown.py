"""A document as GitHub's Markdown, which has tables."""

import re

from analysis.reports.document import (
    Block,
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
from heldout.markup import make_visible

# Characters that start markup anywhere in a text. Underscores inside words do not.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#|~&!$]|(?<![^\W_])_|_(?![^\W_])")
# Text that GitHub turns into a link by itself.
_LINK = re.compile(r":(?=//)|(?<=\bwww)\.|@", re.IGNORECASE)
FENCE = "```"


def render_markdown(document: Document) -> str:
    parts = [f"# {_render_text(document.question)}"]
    if document.notice is not None:
        parts.append(f"> {_render_text(document.notice)}")
    parts += [f"**{_render_text(document.lead)}**", _render_text(document.about)]
    parts += [written for block in document.blocks if (written := _render_block(block))]
    return "\n\n".join(parts) + "\n"


def _render_block(block: Block) -> str:
    match block:
        case Heading():
            return f"## {_render_text(block.text)}"
        case Paragraph():
            return _render_text(block.text if block.in_markdown is None else block.in_markdown)
        case Definitions():
            return "\n".join(f"- **{_render_text(name)}** {_render_text(said)}" for name, said in block.pairs)
        case ReportTable():
            return _render_table(block)
        case Listing():
            return f"{_render_text(block.caption)}:\n\n{FENCE}{block.language}\n{_render_code(block.text)}\n{FENCE}"
        case Panels():
            return ""


def _render_table(table: ReportTable) -> str:
    """The columns without pictures."""
    kept = [place for place, heading in enumerate(table.headings) if not isinstance(heading, TablePicture)]
    rules = ["---:" if place in table.numbers else "---" for place in kept]
    rows = [[_render_cell(str(table.headings[place])) for place in kept], rules]
    for number, row in enumerate(table.rows):
        cells = [_render_cell(str(row[place])) for place in kept]
        rows.append([f"**{cell}**" if cell else "" for cell in cells] if number in table.marked else cells)
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{_render_text(table.caption)}\n\n{lines}"


def _render_cell(text: str) -> str:
    """The cell's text. A bar is escaped, because it would end the cell even in code."""
    return re.sub(r"(?<!\\)\|", r"\|", _render_text(text))


def _render_text(text: str) -> str:
    """The text as it is: on one line, without links, and with code as the only markup."""
    return "".join(f"`{make_visible(part)}`" if is_code else _escape(part) for part, is_code in split_code(text))


def _escape(text: str) -> str:
    escaped = _SPECIAL.sub(lambda found: "\\" + found[0], make_visible(text))
    return _LINK.sub(lambda found: "\\" + found[0], escaped)


def _render_code(text: str) -> str:
    """The lines of a listing. JSON in them is ASCII, so no line can end the listing."""
    return "\n".join(map(make_visible, text.split("\n")))
