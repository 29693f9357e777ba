"""A document as GitHub's Markdown: all figures as tables, and no pictures."""

import re
from collections.abc import Sequence

from heldout.documents.blocks import (
    Action,
    Block,
    Details,
    Document,
    Epochs,
    Facts,
    Figure,
    Heading,
    Images,
    Item,
    Items,
    Listing,
    Panels,
    Paragraph,
    Table,
    split_code,
)
from heldout.documents.strips import Axis
from heldout.markup import make_visible

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
    return "\n\n".join([f"# {_write_text(document.title)}", *_write_blocks(document.blocks)]) + "\n"


def _write_blocks(blocks: Sequence[Block]) -> list[str]:
    return [written for block in blocks if (written := _write_block(block))]


def _write_block(block: Block) -> str:
    match block:
        case Heading():
            about = f"\n\n{_write_text(block.about)}" if block.about else ""
            return f"{'#' * block.level} {_write_text(block.text)}{about}"
        case Paragraph():
            return "" if block.tone == "picture" else _write_text(block.text)
        case Epochs():
            return _write_text(block.text)
        case Facts():
            names = [fact.name + (":" if fact.name[-1:].isalnum() else "") for fact in block.facts]
            lines = zip(names, block.facts, strict=True)
            return "\n".join(f"- **{_write_text(name)}** {_write_text(fact.line)}" for name, fact in lines)
        case Action():
            return _write_text(f"{block.line} {block.note}".rstrip())
        case Items():
            title = [f"**{_write_text(block.title)}**\n"] if block.title else []
            marks = (f"{number}." if block.is_ordered else "-" for number in range(1, len(block.items) + 1))
            return "\n".join([*title, *map(_write_item, marks, block.items)])
        case Figure():
            return "\n\n".join(map(_write_block, block.charts))
        case Images():
            return "\n".join(f"- {_write_text(line)}" for line in block.lines)
        case Details():
            return "\n\n".join(_write_blocks(block.blocks))
        case Table():
            return "\n\n".join(filter(None, [_write_table(block), _write_text(block.note)]))
        case Listing():
            code = "\n".join(map(make_visible, block.code.split("\n")))  # no line can end it, as JSON in it is ASCII
            return f"{_write_text(block.caption)}:\n\n{FENCE}{block.language}\n{code}\n{FENCE}"
        case Panels():
            return ""


def _write_item(mark: str, item: Item) -> str:
    line = f"{mark} **{_write_text(item.label)}** {_write_text(item.text)}".rstrip()
    return line if item.action is None else f"{line} {_write_text(item.action.line)}"


def _write_table(table: Table) -> str:
    """Write the columns without pictures."""
    kept = [place for place, heading in enumerate(table.headings) if not isinstance(heading, Axis)]
    rules = ["---:" if place in table.numbers else "---" for place in kept]
    rows = [[_write_text(str(table.headings[place])) for place in kept], rules]
    for number, row in enumerate(table.rows):
        cells = [_write_text(str(row[place])) for place in kept]
        rows.append([f"**{cell}**" if cell else "" for cell in cells] if number in table.marked else cells)
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{_write_text(table.caption)}\n\n{lines}" if table.caption else lines


def _write_text(text: str) -> str:
    """Write the text as it is: on one line, without links, and with code as the only markup."""
    return "".join(
        f"`{make_visible(part)}`" if is_code and not _NO_CODE.search(part) else _escape(part)
        for part, is_code in split_code(text)
    )


def _escape(text: str) -> str:
    escaped = _SPECIAL.sub(lambda found: _ENTITIES.get(found[0], "\\" + found[0]), make_visible(text))
    return _LINK.sub(lambda found: "\\" + found[0], escaped)
