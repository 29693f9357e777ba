"""Finds the usual mistakes in numbering classes in a held-out split or part of one, even with few images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from heldout.diagnosis import remedies
from heldout.diagnosis.compared_splits import list_pairs_by_answers
from heldout.diagnosis.evaluation import SplitFigures, compute_own_chance, compute_skill
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.renaming import (
    RenamedPart,
    list_usual_renamings,
    measure_distance,
    measure_explained,
    measure_part,
)
from heldout.diagnosis.thresholds import (
    COMPARISON_CONFIDENCE,
    FEWEST_CLASSES_OF_PART,
    MAX_DISTANCE_OF_RENAMED,
    MAX_SELECTION_EFFECT,
    MIN_CLASSES_OF_PART,
    MIN_CRITICAL_SHIFT,
    MIN_DISTANCE_OF_CLASSES,
    MIN_EXPLAINED_BY_PART,
    MIN_EXPLAINED_BY_USUAL,
    MIN_MISSING_OF_PART,
    MIN_SKILL_OF_PART,
    MIN_SURE_EFFECT,
    MIN_WHOLE_SHARE,
)
from heldout.statistics.intervals import compute_newcombe_interval, compute_paired_interval
from heldout.words import percent


@dataclass(frozen=True)
class Renamed:
    """A split with renamed classes. gain: the accuracy that the right names restore.

    share: share of its labels that are renamed; None if all are.
    """

    split: str
    renaming: Sequence[int]
    before: float
    gain: float
    interval: tuple[float, float]
    share: float | None = None

    @property
    def severity(self) -> Severity:
        return "critical" if self.interval[0] > MIN_CRITICAL_SHIFT else "warning"


def find_whole(facts: Facts) -> Renamed | None:
    """The usual renaming of a whole held-out split that clearly makes answers right.

    It must restore at least half of what this split lacks compared with the other one. Gains by chance, if a frequent
    answer gets the name of a frequent class, do not count unless class frequencies show the same renaming.
    """
    for split, figures, other in list_pairs_by_answers(facts):
        found = _find_best_whole(facts, split, figures, other)
        if found is not None:
            return found
    return None


def _find_best_whole(facts: Facts, split: str, figures: SplitFigures, other: SplitFigures) -> Renamed | None:
    renamings = list_usual_renamings(facts.classes)
    best, at_least = None, MAX_SELECTION_EFFECT
    count, missing = sum(map(sum, figures.confusion)), other.accuracy - figures.accuracy
    trained = () if facts.train is None else facts.train.confusion
    known = next(
        (counts for counts in (trained, other.confusion) if len(counts) == len(facts.classes)), figures.confusion
    )
    as_they_are = measure_distance(figures.confusion, known)
    for renaming in renamings:
        moved = [label for label, means in enumerate(renaming) if means != label]
        gained = sum(figures.confusion[label][renaming[label]] for label in moved)
        lost = sum(figures.confusion[label][label] for label in moved)
        gain, (low, high) = (
            (gained - lost) / count,
            compute_paired_interval(gained, lost, count, _compute_confidence(renamings)),
        )
        if low <= at_least:
            continue
        by_chance = compute_own_chance(figures, len(renaming), renaming) - compute_own_chance(figures, len(renaming))
        least, distance = at_least, measure_distance(figures.confusion, known, renaming)
        if distance <= MAX_DISTANCE_OF_RENAMED * as_they_are and as_they_are >= MIN_DISTANCE_OF_CLASSES:
            by_chance = 0.0
        elif distance >= as_they_are + MIN_DISTANCE_OF_CLASSES:
            least = max(at_least, MIN_CRITICAL_SHIFT)
        if low - max(0.0, by_chance) > least and gain >= MIN_EXPLAINED_BY_USUAL * missing:
            best, at_least = Renamed(split, renaming, figures.accuracy, gain, (low, high)), low
    return best


def find_part(facts: Facts) -> list[Finding]:
    """A part of a held-out split whose labels are numbered in another order."""
    found = next(_find_parts(facts), None)
    return [] if found is None else [_make_finding(facts, found)]


def find_in_test(facts: Facts) -> Renamed | None:
    """A usual mistake in all labels of test, or in some of them."""
    found = [find_whole(facts), *_find_parts(facts)]
    return next((renamed for renamed in found if renamed is not None and renamed.split == "test"), None)


def _find_parts(facts: Facts) -> Iterator[Renamed]:
    """For each held-out split, the renaming of part of its labels that best explains its answers.

    In most classes, more answers follow the other order than in the other split, and fewer are right. With only two
    classes a harder split looks the same.
    """
    if len(facts.classes) < FEWEST_CLASSES_OF_PART:
        return
    for split, figures, other in list_pairs_by_answers(facts):
        is_known = len(other.confusion) == len(facts.classes) and (
            compute_skill(other.accuracy, 1 / len(facts.classes)) >= MIN_SKILL_OF_PART
        )
        found = _find_best_part(facts, split, figures, other) if is_known else None
        if found is not None:
            yield found


def _find_best_part(facts: Facts, split: str, figures: SplitFigures, other: SplitFigures) -> Renamed | None:
    renamings = list_usual_renamings(facts.classes)
    best, most = None, MIN_EXPLAINED_BY_PART
    for renaming in renamings:
        part = measure_part(figures.confusion, other.confusion, renaming)
        if part is None or not _can_be(part):
            continue
        answered = (round(share * count) for share, count in zip(part.answered, part.counts, strict=True))
        here, there = zip(answered, part.counts, strict=True)
        low, high = compute_newcombe_interval(here, there, _compute_confidence(renamings))
        if low <= MIN_SURE_EFFECT:
            continue
        explained, classes = measure_explained(part, figures.confusion, other.confusion, renaming)
        if explained >= most and classes >= MIN_CLASSES_OF_PART:
            moved = part.counts[0] / max(1, sum(map(sum, figures.confusion)))
            gain, interval = (part.answered[0] - part.answered[1]) * moved, (low * moved, high * moved)
            best, most = Renamed(split, renaming, figures.accuracy, gain, interval, part.share * moved), explained
    return best


def _can_be(part: RenamedPart) -> bool:
    """Whether only some labels are renamed, and enough right answers are missing for what correcting them restores."""
    gain, missing = part.answered[0] - part.answered[1], part.right[1] - part.right[0]
    return 0 < part.share < MIN_WHOLE_SHARE and gain > 0 and missing >= MIN_MISSING_OF_PART * gain


def _compute_confidence(renamings: Sequence[Sequence[int]]) -> float:
    """The confidence for one renaming: all renamings tried share the allowed false alarms."""
    return 1 - (1 - COMPARISON_CONFIDENCE) / max(1, len(renamings))


def _make_finding(facts: Facts, found: Renamed) -> Finding:
    split, names, share = found.split, facts.classes, found.share or 0.0
    other = "validation" if split == "test" else "test"
    after = found.before + found.gain
    label = next(label for label, means in enumerate(found.renaming) if means != label)
    return Finding(
        "label_order_mismatch",
        found.severity,
        f"About {percent(share)} of the {split} labels appear to number the classes in a different order than training "
        f"and {other} do. For example, the network answers {names[found.renaming[label]]!r} where the label says "
        f"{names[label]!r}. {split.capitalize()} accuracy is {percent(found.before)}; with these labels corrected, it "
        f"would be about {percent(after)}.",
        {
            "split": split,
            "share": share,
            f"{split}_accuracy": found.before,
            f"{split}_accuracy_renamed": after,
            "difference_interval": [*found.interval],
            "by_answers": True,
        },
        (
            remedies.suggest_data_fix(
                f"Find the {split} labels that follow a different list of classes, and renumber them as in training."
            ),
        ),
    )
