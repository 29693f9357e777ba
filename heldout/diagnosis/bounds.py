"""Intervals of the terms of a gap: of paired answers, and of answers to different images that come in families."""

from collections.abc import Sequence
from math import isnan

from heldout.diagnosis.thresholds import TERM_CONFIDENCE
from heldout.statistics import (
    compute_mean_interval,
    compute_newcombe_interval,
    compute_paired_interval,
    compute_welch_interval,
)
from heldout.stored.gap import PairedTally, Tally

Bounds = tuple[float, float]


def bound_paired(change: PairedTally, confidence: float = TERM_CONFIDENCE) -> Bounds:
    return compute_paired_interval(change.gained, change.lost, change.count, confidence)


def bound_paired_loss(change: PairedTally, confidence: float = TERM_CONFIDENCE) -> Bounds | None:
    """Bounds of how much the loss falls with the change."""
    if change.count < 2 or isnan(change.loss):
        return None
    return mirror(compute_mean_interval(change.loss, change.loss_variance, change.count, confidence))


def bound_difference(first: Tally, second: Tally, family: float, confidence: float = TERM_CONFIDENCE) -> Bounds:
    """Bounds of the difference of two accuracies on different images.

    Args:
        family: how many images say as much as one independent image.
    """
    first_counts, second_counts = (
        (tally.accuracy * _count_independent(tally, family), _count_independent(tally, family))
        for tally in (first, second)
    )
    return compute_newcombe_interval(first_counts, second_counts, confidence)


def bound_welch(first: Tally, second: Tally, family: float) -> Bounds | None:
    """Bounds of the difference of two losses on different images; None if there are too few images."""
    first_counts, second_counts = (
        (tally.loss, tally.loss_variance, _count_independent(tally, family)) for tally in (first, second)
    )
    if min(first_counts[2], second_counts[2]) < 2 or isnan(first.loss) or isnan(second.loss):
        return None
    return compute_welch_interval(first_counts, second_counts)


def _count_independent(tally: Tally, family: float) -> float:
    """The equivalent number of independent images: real images come in families that are answered alike."""
    return max(1.0, tally.count / family)


def mirror(bounds: Bounds) -> Bounds:
    return -bounds[1], -bounds[0]


def scale(bounds: Bounds, share: float) -> Bounds:
    return share * bounds[0], share * bounds[1]


def include(value: float, bounds: Bounds) -> Bounds:
    return min(value, bounds[0]), max(value, bounds[1])


def span(intervals: Sequence[Bounds]) -> Bounds:
    """The interval from the lowest to the highest bound."""
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def span_if_all(intervals: Sequence[Bounds | None]) -> Bounds | None:
    known = [interval for interval in intervals if interval is not None]
    return span(known) if len(known) == len(intervals) else None
