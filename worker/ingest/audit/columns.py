"""Finds columns next to the images whose values are in several splits, such as patients."""

import re
from collections.abc import Sequence

import numpy as np

from analysis.arrays.columns import Columns
from analysis.arrays.dataset import SPLITS
from heldout.stored.audit import AuditFinding
from heldout.words import rough_percent
from worker.ingest.audit.dataset import ADJECTIVES, IngestedDataset

# A column names groups if it has at least this many values, most images share theirs, and no value is very frequent.
# A sex or a camera is in all splits anyway; a patient should not be.
MIN_VALUES = 10
MAX_SHARE_OF_VALUE = 0.2
# Numbers are mostly measurements, such as an age. They only name groups if the column's name says so.
_NAMES_SOMETHING = re.compile(r"(^|[^a-z])(id|patient|subject|person|case|scene|series|session|video|animal|object)")


def find_leaking_columns(dataset: IngestedDataset, columns: Columns) -> list[AuditFinding]:
    """Return a finding for each column that names groups, of which training and held-out splits share some."""
    return [finding for name, values in columns.items() if (finding := _find_leak(dataset, name, values)) is not None]


def _find_leak(dataset: IngestedDataset, column: str, values: Sequence[str | None]) -> AuditFinding | None:
    known = np.array([value is not None for value in values])
    if not known.any() or (_are_numbers(values) and not _NAMES_SOMETHING.search(column.lower())):
        return None
    _, groups = np.unique(np.array([value or "" for value in values], str), return_inverse=True)
    _, counts = np.unique(groups[known], return_counts=True)
    total_known = int(known.sum())
    shared = int(counts[counts > 1].sum())
    if len(counts) < MIN_VALUES or shared < total_known / 2 or np.max(counts) > MAX_SHARE_OF_VALUE * total_known:
        return None
    in_train = np.unique(groups[dataset.splits["train"]][known[dataset.splits["train"]]])
    leaking = {
        split: rows[known[rows] & np.isin(groups[rows], in_train)]
        for split in SPLITS[1:]
        if len(rows := dataset.splits[split])
    }
    worst = max(leaking, key=lambda split: len(leaking[split]), default=None)
    if worst is None or not len(leaking[worst]):
        return None
    rows, total = leaking[worst], len(dataset.splits[worst])
    return AuditFinding(
        code="column_across_splits",
        severity="warning",
        numbers={
            "column": column,
            "values": len(counts),
            **{f"{split}_images": len(r) for split, r in leaking.items()},
        },
        explanation=f"{len(rows):,} of {total:,} {ADJECTIVES[worst]} images ({rough_percent(len(rows) / total)}) share "
        f"their {column!r} with training images. If it names what a network can recognize, such as a patient, results "
        "on held-out images look better than they are.",
        what_to_do=f'Upload again with `group_by: {{"column": "{column}"}}` and merged splits, which keeps its values '
        "in one split each.",
        examples=dataset.examples(rows),
    )


def _are_numbers(values: Sequence[str | None]) -> bool:
    try:
        for value in {value for value in values if value is not None}:
            float(value)
    except ValueError:
        return False
    return True
