"""Results for the values of a column, such as each camera, as a table, and what exchanges show of a shortcut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.blocks import Block, Heading, Image, ImageGroup, Images, Paragraph, Table
from heldout.metrics import METRICS
from heldout.words import NONE, pluralize
from heldout.words.changes import format_metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from heldout.metrics import Measure
    from heldout.stored.evaluation import StoredColumn, StoredGroup

# The other metrics are in the answers of the API: more columns could not be read.
SHOWN: tuple[Measure, ...] = ("accuracy", "loss", "balanced_accuracy")
HOW_TO_READ = "The ranges of one column hold together in 95 of 100 cases."


def build_groups(groups: Mapping[str, Sequence[StoredColumn]], level: int) -> list[Block]:
    """Build a table for each column, with the held-out splits one below the other; nothing without columns."""
    names = list(dict.fromkeys(column.name for columns in groups.values() for column in columns))
    return [block for name in names for block in _build_column(name, groups, level)]


def _build_column(name: str, groups: Mapping[str, Sequence[StoredColumn]], level: int) -> list[Block]:
    found = {split: column for split, columns in groups.items() for column in columns if column.name == name}
    rows = [(split, *_list_cells(group)) for split, column in found.items() for group in column.groups]
    notes = dict.fromkeys(column.why for column in found.values() if column.why)
    without = sum(column.without_value for column in found.values())
    if without:
        notes[f"{pluralize(without, 'image')} without a value."] = None
    heading = Heading(f"By {name}", level)
    if not rows:
        return [heading, Paragraph(" ".join(notes) or NONE)]
    headings = ("split", name, "images", *(METRICS[metric].name for metric in SHOWN))
    return [heading, Table("", headings, rows, numbers=(2, 3, 4, 5), note=" ".join([HOW_TO_READ, *notes]))]


def _list_cells(group: StoredGroup) -> tuple[str, ...]:
    if group.why is not None:
        return group.value, f"{group.count:,}", "too few to say", NONE, NONE
    shown = (format_metric(metric, group.metrics[metric]) if metric in group.metrics else NONE for metric in SHOWN)
    return group.value, f"{group.count:,}", *shown


def build_exchanges(evidence: Mapping[str, Any]) -> list[Block]:
    """Show images whose answer follows a property of another class: as they are, exchanged, and the control."""
    if not evidence.get("pictures"):
        return []
    what = f"with {evidence['what']} of"
    groups = [
        ImageGroup(
            [
                Image(picture["before"], f"image {index} of {picture['label']}", f"answered {picture['label']}"),
                Image(picture["exchanged"], f"{what} {picture['other']}", f"answered {picture['answer']}"),
                Image(
                    picture["control"], f"control: {what} another {picture['label']}", f"answered {picture['label']}"
                ),
            ]
        )
        for index, picture in zip(evidence["images"], evidence["pictures"], strict=True)
    ]
    hint = "Each image as it is, with the property of another class, and with that of its own class."
    return [Paragraph(hint, "picture"), Images(groups, sign="→")]
