"""A document as lines of text, for terminals and assistants."""

import sys
import textwrap
from collections.abc import Iterator, Sequence

from heldout.documents.blocks import (
    Action,
    Block,
    Details,
    Epochs,
    Facts,
    Figure,
    Heading,
    Images,
    Items,
    Listing,
    Paragraph,
    Table,
)
from heldout.documents.columns import BETWEEN, align
from heldout.documents.strips import COLUMNS, Axis, Strip, draw_characters
from heldout.markup import make_visible

# Longer lines are hard to read.
PROSE_WIDTH = 100
# Columns that a table keeps, however narrow the terminal is.
FEWEST_COLUMNS = 4


def render_terminal(blocks: Sequence[Block], width: int | None = None) -> list[str]:
    """Lay out each block with an empty line before it. width: of the terminal; None for a line for each paragraph."""
    lines: list[str] = []
    before: Block | None = None
    for block in blocks:
        if isinstance(block, Paragraph) and block.tone == "picture":
            continue
        is_prose = isinstance(block, Paragraph | Epochs) or (isinstance(block, Items) and not block.title)
        is_apart = not (is_prose and isinstance(before, Heading | Paragraph | Epochs))
        lines += [*([""] if lines and is_apart else []), *_write(block, width)]
        before = block
    return lines


def _write(block: Block, width: int | None) -> Iterator[str]:
    match block:
        case Heading():
            is_finding = block.level > 2 and block.about
            yield from _wrap(f"{block.text} ({block.about})" if is_finding else block.text, width)
            yield from [block.about] if block.about and not is_finding else []
        case Paragraph() | Epochs():
            yield from _wrap(block.text, width)
        case Facts():
            yield from align([(fact.name.lower(), fact.line) for fact in block.facts])
        case Action():
            yield from _wrap(f"{block.line} {block.note}".rstrip(), width)
        case Items():
            yield from [f"{block.title}:"] if block.title else []
            for number, item in enumerate(block.items, 1):
                start = f"{number}. " if block.is_ordered else "- "
                yield from _wrap(f"{start}{item.label} {item.text}".rstrip(": "), width)
                if item.action is not None:
                    yield f"{' ' * len(start)}{item.action.line}"
        case Figure():
            for place, chart in enumerate(block.charts):
                yield from [""] if place else []
                yield from _write(chart, width)
        case Table():
            yield from [block.caption] if block.caption else []
            yield from write_table(block, width)
            yield from _wrap(block.note, width) if block.note else []
        case Images():
            yield from (f"  {line}" for line in block.lines)
        case Listing():
            yield from [f"{block.caption}:", *(f"  {line}" for line in block.code.split("\n"))]
        case Details():
            yield from render_terminal(block.blocks, width)


def write_table(table: Table, width: int | None = None) -> list[str]:
    """Write a line for each row below the headings. Pictures come last. What does not fit is left out."""
    axes = {place: heading for place, heading in enumerate(table.headings) if isinstance(heading, Axis)}
    shown = [place for place in range(len(table.headings)) if place not in axes and place not in table.remarks]
    rows = [[str(row[place]) for place in shown] for row in (table.headings, *table.rows)]
    rows[0] = [cell.upper() for cell in rows[0]]
    room, numbers = sys.maxsize, [shown.index(place) for place in table.numbers if place in shown]
    for columns in range(len(shown), 0, -1):
        lines = align([row[:columns] for row in rows], numbers)
        room = max(map(len, lines))
        if width is None or room <= width or columns <= FEWEST_COLUMNS:
            break
    for place, axis in axes.items():
        if width is not None and room + len(BETWEEN) + COLUMNS > width:
            break
        head = axis.low.ljust(COLUMNS - len(axis.high)) + axis.high
        drawn = [head, *(_draw(row[place], axis) for row in table.rows)]
        lines = [f"{line.ljust(room)}{BETWEEN}{picture}".rstrip() for line, picture in zip(lines, drawn, strict=True)]
    return lines


def _draw(cell: str | Strip, axis: Axis) -> str:
    return draw_characters(cell, axis) if isinstance(cell, Strip) else cell


def _wrap(text: str, width: int | None) -> list[str]:
    if width is None:
        return [make_visible(text)]
    return textwrap.wrap(make_visible(text), min(PROSE_WIDTH, width), break_on_hyphens=False)
