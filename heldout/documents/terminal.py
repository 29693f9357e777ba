"""A document as lines of text, for terminals and assistants."""

import textwrap
from collections.abc import Iterator, Sequence

from heldout.documents.blocks import (
    Action,
    Details,
    Epochs,
    Facts,
    Figure,
    Heading,
    Items,
    PageBlock,
    Paragraph,
    tabulate,
)
from heldout.documents.columns import align
from heldout.markup import make_visible


def render_terminal(blocks: Sequence[PageBlock], width: int | None = None) -> list[str]:
    """Lay out each block with an empty line before it. width: of lines of prose; None for one line each."""
    lines: list[str] = []
    before: PageBlock | None = None
    for block in blocks:
        is_prose = isinstance(block, Paragraph | Epochs) or (isinstance(block, Items) and not block.title)
        is_apart = not (is_prose and isinstance(before, Heading | Paragraph | Epochs))
        lines += [*([""] if lines and is_apart else []), *_write(block, width)]
        before = block
    return lines


def _write(block: PageBlock, width: int | None) -> Iterator[str]:
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
                yield from _wrap(f"{start}{item.title}: {item.text}".rstrip(": "), width)
                if item.action is not None:
                    yield f"{' ' * len(start)}{item.action.line}"
        case Figure():
            for place, (table, note) in enumerate(tabulate(block, explained=False)):
                yield from [""] if place else []
                yield table.caption
                yield from align([list(map(str, row)) for row in (table.headings, *table.rows)], right=(1,))
                yield from _wrap(note, width)
        case Details():
            yield from render_terminal(block.blocks, width)


def _wrap(text: str, width: int | None) -> list[str]:
    if width is None:
        return [make_visible(text)]
    return textwrap.wrap(make_visible(text), width, break_on_hyphens=False)
