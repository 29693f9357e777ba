"""Notes about a network, as blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.blocks import Block, Heading, Item, Items, Paragraph
from heldout.network_check.catalogue import CHECKS
from heldout.words import pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.views.note import NoteView


def build_notes(notes: Sequence[NoteView] | None) -> list[Block]:
    """Build a list of what looks wrong, or a sentence if nothing does; no blocks if nothing was checked."""
    if notes is None:
        return []
    if not notes:
        return [Heading("Check of the layers"), Paragraph("Nothing looks wrong in the layers.")]
    items = [Item(CHECKS[note.check].title, f"{note.text} {_name_change(note.line)}".rstrip()) for note in notes]
    about = f"{pluralize(len(notes), 'note')}, which only a training can prove"
    return [Heading("Check of the layers"), Items(items, about)]


def _name_change(line: str) -> str:
    """Say which code changes it, unless the line is a sentence that says so itself."""
    return f"Change: {line}" if line.startswith("`") else line
