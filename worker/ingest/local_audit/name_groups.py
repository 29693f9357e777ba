"""Groups that file names suggest, such as several images of one patient: a rule for `group_by`, and its evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from analysis.arrays.file_names import group_names
from heldout.stored.audit import AuditExample, AuditFinding
from heldout.words import pluralize

MAX_EXAMPLES = 6


@dataclass(frozen=True)
class NameGroups:
    """rule: a value of `group_by`. groups: (images,) numbers. crossing: the groups with images in several splits."""

    rule: str
    names: Sequence[str]
    groups: NDArray[np.int64]
    crossing: NDArray[np.int64]


def guess_groups(
    names: Sequence[str], labels: NDArray[np.int32], splits: Mapping[str, NDArray[np.int64]]
) -> NameGroups | None:
    """Return the groups that names suggest, and which of them are in several splits; None if names suggest none."""
    found = group_names(names, len(np.unique(labels)))
    if found is None:
        return None
    rule, keys, groups = found
    per_split = np.stack([np.bincount(groups[splits[split]], minlength=len(keys)) for split in SPLITS])
    return NameGroups(rule, keys, groups, np.flatnonzero((per_split > 0).sum(axis=0) > 1))


def describe_groups(found: NameGroups, examples: Sequence[AuditExample], *, is_cut: bool) -> AuditFinding:
    """Return the finding. is_cut: whether splits were cut here, so that a rule alone keeps groups whole."""
    count, crossing = len(found.names), len(found.crossing)
    shown = ", ".join(found.names[:3]) + (", …" if count > 3 else "")
    what_to_do = (
        f"If they do, use `--group-by '{found.rule}'`{'' if is_cut else ' with `--merge`'}, which keeps each group in "
        "one split. If not, there is nothing to do."
    )
    return AuditFinding(
        code="names_suggest_groups",
        severity="warning" if crossing else "info",
        numbers={"groups": count, "crossing": crossing, "rule": found.rule},
        explanation=f"File names look as if {pluralize(len(found.groups), 'image')} came from {count:,} groups "
        f"({shown}), and {crossing:,} of them have images in several splits. If images of one group show the same "
        "thing, results look better than they are.",
        what_to_do=what_to_do,
        examples=tuple(examples[:MAX_EXAMPLES]),
    )
