"""A document as Markdown (GitHub's, for its tables)."""

import re

from analysis.reports.document import (
    Block,
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
from heldout.markup import visible

# What begins markup anywhere in a text. Underscores inside words do not.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#|~&!$]|(?<![^\W_])_|_(?![^\W_])")
# What GitHub makes a link of without being asked.
_LINK = re.compile(r":(?=//)|(?<=\bwww)\.|@", re.IGNORECASE)
FENCE = "```"


def as_markdown(document: Document) -> str:
    parts = [f"# {_text(document.question)}"]
    if document.notice is not None:
        parts.append(f"> {_text(document.notice)}")
    parts += [f"**{_text(document.lead)}**", _text(document.about)]
    parts += [written for block in document.blocks if (written := _block(block))]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"## {_text(block.text)}"
        case Paragraph():
            return _text(block.text if block.in_markdown is None else block.in_markdown)
        case Facts():
            return "\n".join(f"- **{_text(name)}** {_text(said)}" for name, said in block.pairs)
        case Table():
            return _table(block)
        case Listing():
            return f"{_text(block.caption)}:\n\n{FENCE}{block.language}\n{_code(block.text)}\n{FENCE}"
        case Panels():
            return ""


def _table(table: Table) -> str:
    """The columns that are no pictures."""
    kept = [place for place, heading in enumerate(table.headings) if not isinstance(heading, Picture)]
    rules = ["---:" if place in table.numbers else "---" for place in kept]
    rows = [[_cell(str(table.headings[place])) for place in kept], rules]
    for number, row in enumerate(table.rows):
        cells = [_cell(str(row[place])) for place in kept]
        rows.append([f"**{cell}**" if cell else "" for cell in cells] if number in table.marked else cells)
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{_text(table.caption)}\n\n{lines}"


def _cell(text: str) -> str:
    """A bar would end the cell even in code."""
    return re.sub(r"(?<!\\)\|", r"\|", _text(text))


def _text(text: str) -> str:
    """Text that means itself: no markup but code, no link, one line."""
    return "".join(f"`{visible(part)}`" if is_code else _escaped(part) for part, is_code in parts_of(text))


def _escaped(text: str) -> str:
    escaped = _SPECIAL.sub(lambda found: "\\" + found[0], visible(text))
    return _LINK.sub(lambda found: "\\" + found[0], escaped)


def _code(text: str) -> str:
    """Lines of a listing; JSON in them is ASCII, so no line can end the listing."""
    return "\n".join(map(visible, text.split("\n")))
