"""Finding about groups of images, such as those of one camera, that are answered worse than the others."""

from collections.abc import Iterator
from dataclasses import dataclass

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, SuggestedRemedy
from heldout.metrics import FEWEST_OF_RAREST, PROPOSED_GROUP_OBJECTIVE
from heldout.statistics import compute_lower_tail, compute_newcombe_interval
from heldout.stored.evaluation import SplitName, StoredColumn, StoredGroup
from heldout.words import percent, pluralize


@dataclass(frozen=True)
class _Worse:
    """A group, and how probable so few right answers are if it is like the others.

    others: right answers and number of the other images with a value.
    """

    split: SplitName
    column: str
    group: StoredGroup
    others: tuple[int, int]
    chance: float

    @property
    def missing(self) -> float:
        return self.others[0] / self.others[1] - self.group.right / self.group.count


def find_worst_group(facts: Facts) -> Finding | None:
    """Report the group that is surely worse than the other images, all comparisons together.

    Columns that have nothing to do with the answers are reported in at most 5 of 100 cases. The test is exact (Fisher).
    All groups of all columns and splits share the error (Bonferroni).
    """
    splits: tuple[SplitName, ...] = ("validation", "test")
    compared = [each for split in splits for each in _iterate_groups(facts, split)]
    worse = [
        each
        for each in compared
        if each.missing >= thresholds.MIN_GROUP_GAP and each.chance * len(compared) <= thresholds.MAX_FALSE_ALARMS
    ]
    if not worse:
        return None
    # Validation decides which group it is, unless only test shows one.
    found = min(worse, key=lambda each: (each.split != "validation", -each.missing * each.group.count))
    group, (right, count) = found.group, found.others
    share = group.count / (group.count + count)
    low, high = compute_newcombe_interval(found.others, (group.right, group.count))
    objective = _propose_objective(facts, found.column)
    return Finding(
        "worst_group",
        "warning",
        f"Of {pluralize(group.count, f'{found.split} image')} of {found.column} {group.value!r}, "
        f"{percent(group.right / group.count)} are right; of the others {percent(right / count)}.",
        {
            "split": found.split,
            "column": found.column,
            "value": group.value,
            "count": group.count,
            "right": group.right,
            "others": [right, count],
            "p": min(1.0, found.chance * len(compared)),
            "points": share * found.missing,
            "points_interval": [share * low, share * high],
            **({"proposed_objective": "worst_group"} if objective else {}),
        },
        (
            *objective,
            *remedies.suggest_data_fix(
                f"Collect more images of {found.column} {group.value!r}, and look at its mistakes."
            ),
        ),
    )


def _propose_objective(facts: Facts, column: str) -> tuple[SuggestedRemedy, ...]:
    """Propose to judge by the worst group, if a job by it would be accepted and this one is not judged by it."""
    groups = next(
        (each.groups for each in (() if facts.validation is None else facts.validation.columns) if each.name == column),
        (),
    )
    patch = {"objective": "worst_group", "group_column": column}
    if len(groups) < 2 or min(group.count for group in groups) < FEWEST_OF_RAREST:
        return ()
    if facts.spec is not None and all(facts.spec.get(name) == value for name, value in patch.items()):
        return ()
    return (SuggestedRemedy("objective", PROPOSED_GROUP_OBJECTIVE, None if facts.base is None else patch),)


def _iterate_groups(facts: Facts, split: SplitName) -> Iterator[_Worse]:
    figures = facts.validation if split == "validation" else facts.test
    for column in () if figures is None else figures.columns:
        yield from _compare_groups(split, column)


def _compare_groups(split: SplitName, column: StoredColumn) -> Iterator[_Worse]:
    right, count = (sum(getattr(group, name) for group in column.groups) for name in ("right", "count"))
    for group in column.groups:
        others = (right - group.right, count - group.count)
        if min(group.count, others[1]) >= FEWEST_OF_RAREST:
            chance = compute_lower_tail((group.right, group.count), others)
            yield _Worse(split, column.name, group, others, chance)
