"""Judges a remedy against the base: a cure, not a cure, or undecided, and what would decide it. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from analysis.studies.comparing import Comparison, GainUnit
from heldout.metrics import METRICS, Measure
from heldout.views.study import NeedsView

# The smallest benefits that a study looks for: a remedy that certainly gives less does not help.
RELEVANT_ACCURACY = 0.01
RELEVANT_SHARE_OF_LOSS = 0.05
# How often the interval may miss that shows that a measure became worse, or that no benefit is left. A cure must be
# proven with correction for many comparisons; doubting one takes less.
DOUBT_ERROR = 0.05


class RemedyAssessment(StrEnum):
    """The possible judgements of a remedy against the base."""

    CURE = "cure"  # certainly better in a measure that decides, and credibly worse in none
    WORSE = "worse"  # credibly worse in one of them
    NO_HELP = "no_help"  # any benefit is too small to matter
    OPEN = "open"


@dataclass(frozen=True)
class Judgement:
    """A remedy against the base, and the deciding measures."""

    assessment: RemedyAssessment
    better: tuple[Measure, ...]
    worse: tuple[Measure, ...]


def judge(comparison: Comparison, unit: GainUnit, error: float) -> Judgement:
    """Judge a remedy.

    Args:
        comparison: with the base.
        error: how often a deciding interval may miss: its share of the study's error.
    """
    better = tuple(m for m in unit.measures if comparison.get_benefit(m).interval(error)[0] > 0)
    worse = tuple(m for m in unit.measures if comparison.get_benefit(m).interval(DOUBT_ERROR)[1] < 0)
    if worse:
        return Judgement(RemedyAssessment.WORSE, better, worse)
    if better:
        return Judgement(RemedyAssessment.CURE, better, worse)
    most = {m: comparison.get_benefit(m).interval(DOUBT_ERROR)[1] for m in unit.measures}
    helpless = all(most[m] < get_relevant_benefit(m, unit) for m in unit.measures)
    return Judgement(RemedyAssessment.NO_HELP if helpless else RemedyAssessment.OPEN, better, worse)


def list_worse_measures(comparison: Comparison, unit: GainUnit, error: float) -> tuple[Measure, ...]:
    """Return the measures that an arm is proven to make worse, as strictly as a cure is proven."""
    return tuple(measure for measure in unit.measures if comparison.get_benefit(measure).interval(error)[1] < 0)


def get_relevant_benefit(measure: Measure, unit: GainUnit) -> float:
    """Return the smallest benefit that matters."""
    if METRICS[measure].is_share:
        return RELEVANT_ACCURACY
    return RELEVANT_SHARE_OF_LOSS * (unit.loss if measure == "loss" else unit.objective or 1.0)


# --- what would decide it ------------------------------------------------------------------------------------

# More than this is impractical to train or collect.
MOST_SEEDS = 40
MOST_IMAGES = 100_000


def estimate_needs(comparison: Comparison, unit: GainUnit, error: float, validation_images: int) -> NeedsView:
    """Return what would decide whether an arm is a cure, if it differs from the base as much as it appears to.

    Args:
        comparison: with the base.
        error: how often an interval that proves a cure may miss.
        validation_images: of one training.
    Returns:
        only more seeds if they are enough, else only more images, else both; nothing if the difference is too small for
        that.
    """
    have = comparison.gain.spread.trainings

    def tells(seeds: int, images: int) -> bool:
        return would_tell(comparison, unit, error, max(have + seeds, 2), 1 + images / validation_images)

    seeds = _find_fewest(lambda more: tells(more, 0), MOST_SEEDS)
    if seeds is not None:
        return NeedsView(seeds=seeds)
    images = _find_fewest(lambda more: tells(0, more), MOST_IMAGES)
    if images is not None:
        return NeedsView(images=_round_count(images))
    images = _find_fewest(lambda more: tells(MOST_SEEDS // 2, more), MOST_IMAGES)
    return NeedsView() if images is None else NeedsView(seeds=MOST_SEEDS // 2, images=_round_count(images))


def would_tell(comparison: Comparison, unit: GainUnit, error: float, trainings: int, image_factor: float = 1.0) -> bool:
    """Return whether intervals would be narrow enough to prove a benefit in one measure, or its absence in all.

    Args:
        error: how often an interval that proves a cure may miss.
        trainings, image_factor: this many trainings, on this many times the images.
    """
    too_little = []
    for measure in unit.measures:
        benefit = comparison.get_benefit(measure)
        if benefit.compute_expected_half_width(error, trainings, image_factor) < benefit.mean:
            return True
        doubt = benefit.compute_expected_half_width(DOUBT_ERROR, trainings, image_factor)
        too_little.append(doubt < get_relevant_benefit(measure, unit) - benefit.mean)
    return all(too_little)


def find_fewest_seeds(suffices: Callable[[int], bool]) -> int | None:
    """Return the fewest further seeds that suffice; None if no practical number does."""
    return _find_fewest(suffices, MOST_SEEDS)


def _find_fewest(suffices: Callable[[int], bool], most: int) -> int | None:
    """Return the smallest whole number from 1 that suffices, if larger ones always do; None if `most` does not."""
    low, high = 0, 1
    while not suffices(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _round_count(count: int) -> int:
    """Round to two digits: more would claim too much."""
    unit: int = 10 ** max(len(str(count)) - 2, 0)
    return ceil(count / unit) * unit
