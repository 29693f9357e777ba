"""Finding about groups of images, such as those of one camera, that are answered worse than the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.evaluation import SplitFigures
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


def find_shortcut(facts: Facts) -> Finding | None:
    """Report the column that alone predicts labels almost as well as the network: a note until a change confirms it."""
    for split, figures in (("validation", facts.validation), ("test", facts.test)):
        suspected = [] if figures is None else list_suspected(figures.columns, figures.counts)
        if figures is not None and suspected:
            column = max(suspected, key=lambda each: each.right_by_column or 0)
            return _describe_shortcut(facts, split, figures, column)
    return None


def list_suspected(columns: Sequence[StoredColumn], network: tuple[int, int]) -> list[StoredColumn]:
    """List the columns that alone predict the labels of a split almost as well as the network.

    All columns share the probability of a false alarm, and so do validation and test.

    Args:
        columns: of the split.
        network: its right answers, and the images.
    """
    right, count = network
    suspected = []
    for column in columns:
        if column.right_by_column is None or column.right_by_majority is None or count < FEWEST_OF_RAREST:
            continue
        gain = (column.right_by_column - column.right_by_majority) / count
        is_close = column.right_by_column / count >= right / count - thresholds.MAX_BEHIND_NETWORK
        chance = compute_lower_tail((column.right_by_majority, count), (column.right_by_column, count))
        is_sure = 2 * len(columns) * chance <= thresholds.MAX_FALSE_ALARMS
        if is_close and gain >= thresholds.MIN_COLUMN_GAIN and is_sure:
            suspected.append(column)
    return suspected


def _describe_shortcut(facts: Facts, split: str, figures: SplitFigures, column: StoredColumn) -> Finding:
    alone, count = column.right_by_column or 0, figures.count
    evidence = {"split": split, "column": column.name, "count": count, "alone": alone, "right": figures.correct}
    comparison = (
        f"{column.name.capitalize()} alone predicts {percent(alone / count)} of {pluralize(count, f'{split} label')}; "
        f"the network gets {percent(figures.accuracy)} right."
    )
    tried = (() if facts.test is None else facts.test.interventions) or (
        () if facts.validation is None else facts.validation.interventions
    )
    confirmed = [each for each in tried if each.is_confirmed]
    advice = f"Collect images whose class does not follow from {column.name}, and judge by them."
    if not confirmed:
        result = (
            " Borders, corners and brightness were exchanged between classes; none of them surely costs five points."
            if tried
            else ""
        )
        remedy = remedies.suggest_data_fix(advice)
        return Finding("shortcut_suspected", "info", comparison + result, evidence, remedy)
    most = max(confirmed, key=lambda each: each.points)
    low, high = most.interval
    changed, control = (100 * (most.right - each) / most.count for each in (most.right_changed, most.right_control))
    return Finding(
        "shortcut_suspected",
        "warning",
        f"{comparison} Exchanging the {most.what} between classes costs {changed:.1f} points; within classes it costs "
        f"{control:.1f}.",
        {
            **evidence,
            "what": most.what,
            "points": most.points,
            "points_interval": [low, high],
            "lost": changed / 100,
            "lost_by_control": control / 100,
            "images": list(most.changed),
            "pictures": [
                {
                    **picture.model_dump(),
                    **{name: facts.classes[getattr(picture, name)] for name in ("label", "other", "answer")},
                }
                for picture in most.pictures
            ],
        },
        remedies.suggest_data_fix(f"Remove the {most.what} from all images, or make it alike. {advice}"),
    )
