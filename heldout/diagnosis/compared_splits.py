"""Which held-out splits can be compared with each other by what the network answers."""

from collections.abc import Iterator

from heldout.diagnosis.effect import Effect
from heldout.diagnosis.evaluation import SplitFigures, own_chance_of
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.thresholds import COMPARISON_CONFIDENCE
from heldout.statistics.intervals import paired_interval, wilson_interval
from heldout.stored.gap import PixelsUndone

Pair = tuple[str, SplitFigures, SplitFigures]  # the name of a split, its figures, and those of the other one


def list_pairs(facts: Facts) -> Iterator[Pair]:
    """Test beside validation, then validation beside test."""
    if facts.validation is not None and facts.test is not None:
        yield "test", facts.test, facts.validation
        yield "validation", facts.validation, facts.test


def list_pairs_by_answers(facts: Facts) -> Iterator[Pair]:
    """The pairs whose first split has a confusion matrix, and no wrong pixel values that would distort it."""
    for split, figures, other in list_pairs(facts):
        is_undone = facts.gap is not None and are_undone(facts.gap.pixels_of(split))
        if len(figures.confusion) == len(facts.classes) and not (is_undone or has_other_pixels(facts, split)):
            yield split, figures, other


def has_other_pixels(facts: Facts, split: str) -> bool:
    """Whether the audit found wrong pixel values that nothing has undone; they alone can cause bad answers."""
    if facts.gap is not None and facts.gap.pixels_of(split) is not None:
        return False
    return any(one.evidence.get("split") == split for one in facts.audited.get("scale_mismatch", ()))


def are_undone(pixels: PixelsUndone | None) -> bool:
    """Whether the split is answered better with its pixels undone, beyond chance."""
    if pixels is None:
        return False
    change = pixels.change
    interval = paired_interval(change.gained, change.lost, change.count)
    return Effect((change.gained - change.lost) / change.count, interval).matters


def is_known(facts: Facts, figures: SplitFigures | None) -> bool:
    """Whether accuracy on a split is surely above guessing; True if the split is missing."""
    if figures is None:
        return True
    low, _ = wilson_interval(*figures.counts, COMPARISON_CONFIDENCE)
    return low > own_chance_of(figures, max(2, len(facts.classes)))
