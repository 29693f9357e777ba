"""Decides which held-out splits can be compared with each other by the network's answers."""

from collections.abc import Iterator

from heldout.diagnosis.evaluation import SplitFigures, compute_own_chance
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.thresholds import COMPARISON_CONFIDENCE
from heldout.statistics.intervals import compute_wilson_interval

Pair = tuple[str, SplitFigures, SplitFigures]  # the name of a split, its figures, the other split's figures


def list_pairs(facts: Facts) -> Iterator[Pair]:
    """Yield test compared with validation, then validation compared with test."""
    if facts.validation is not None and facts.test is not None:
        yield "test", facts.test, facts.validation
        yield "validation", facts.validation, facts.test


def list_pairs_by_answers(facts: Facts) -> Iterator[Pair]:
    """Yield the pairs whose first split has a confusion matrix that no wrong pixel values distort."""
    for split, figures, other in list_pairs(facts):
        if len(figures.confusion) == len(facts.classes) and not (
            facts.is_undone(split) or has_other_pixels(facts, split)
        ):
            yield split, figures, other


def has_other_pixels(facts: Facts, split: str) -> bool:
    """Whether the audit found wrong pixel values that were not undone; these alone can cause bad answers."""
    if facts.gap is not None and facts.gap.get_pixels(split) is not None:
        return False
    return any(finding.evidence.get("split") == split for finding in facts.audited.get("scale_mismatch", ()))


def is_known(facts: Facts, figures: SplitFigures | None) -> bool:
    """Whether accuracy on a split is clearly above guessing; True if the split is missing."""
    if figures is None:
        return True
    low, _ = compute_wilson_interval(*figures.counts, COMPARISON_CONFIDENCE)
    return low > compute_own_chance(figures, max(2, len(facts.classes)))
