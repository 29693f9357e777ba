"""Groups that file names suggest, such as several images of one patient: a rule for `group_by`, and its evidence."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.stored.audit import AuditExample, AuditFinding
from heldout.words import pluralize

# What names may have in front of the number of an image, the finest first. Names of groups have a digit.
RULES = (
    r"([^/]*\d[^/]*)[_-][^/_-]+$",
    r"(?:^|/)([^/_-]*\d[^/_-]*)[_-][^/]*$",
    r"(?:^|/)([A-Za-z]+[_-]?\d+)[_-][^/]*$",
    r"([^/]*\d[^/]*)/[^/]+$",
)
MIN_GROUPS = 3
MIN_MEAN_IMAGES = 2.0
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
    """Return the groups by the finest rule that matches every name; None if names suggest none.

    Names that repeat the class, or number the images, are not groups: there must be more groups than classes, and two
    images in each on average.
    """
    classes = len(np.unique(labels))
    for rule in RULES:
        found = [re.search(rule, name) for name in names]
        if not all(found):
            continue
        keys = [match[1] for match in found if match is not None]
        of_keys, groups = np.unique(keys, return_inverse=True)
        if max(MIN_GROUPS, classes + 1) <= len(of_keys) <= len(names) / MIN_MEAN_IMAGES:
            per_split = np.stack([np.bincount(groups[splits[split]], minlength=len(of_keys)) for split in SPLITS])
            return NameGroups(rule, of_keys.tolist(), groups, np.flatnonzero((per_split > 0).sum(axis=0) > 1))
    return None


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
