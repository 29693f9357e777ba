"""What would make an answer possible: more seeds, or more validation images. Pure."""

from collections.abc import Callable
from math import ceil

from heldout.views.study import NeedsView
from models.studies.comparing import Comparison, GainUnit
from models.studies.intervals import Estimate
from models.studies.standing import DOUBT_ERROR, MEASURES, estimate, mean_benefit, relevant

# More than these nobody would train or collect: it would not help.
MOST_SEEDS = 40
MOST_IMAGES = 100_000


def needs_of(comparison: Comparison, unit: GainUnit, error: float, validation_images: int) -> NeedsView:
    """How many more seeds alone, or more validation images alone, would tell whether an arm is a cure.

    They would if the arm differs from the base as much as it seems to.

    Args:
        comparison: with the base.
        error: how often an interval may miss that proves a cure.
        validation_images: of one training.
    """
    seeds, images = [], []
    for measure in MEASURES:
        difference = estimate(comparison, measure)
        mean, matters = mean_benefit(comparison, measure), relevant(measure, unit)
        # What helps enough must be told from nothing; what helps less, from what would be enough.
        target, risk = (mean, error) if mean >= matters else (matters - mean, DOUBT_ERROR)
        seeds.append(_more_seeds(difference, target, risk))
        images.append(_more_images(difference, target, risk, validation_images))
    helping = [i for i, measure in enumerate(MEASURES) if mean_benefit(comparison, measure) >= relevant(measure, unit)]
    if helping:  # one measure is enough to prove a cure
        return NeedsView(
            seeds=min((seeds[i] for i in helping if seeds[i] is not None), default=None),  # type: ignore[type-var]
            images=min((images[i] for i in helping if images[i] is not None), default=None),  # type: ignore[type-var]
        )
    return NeedsView(seeds=_most(seeds), images=_most(images))


def _most(values: list[int | None]) -> int | None:
    """To exclude a benefit takes both measures."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _more_seeds(difference: Estimate, target: float, error: float) -> int | None:
    have = difference.spread.trainings
    return _fewest(lambda more: difference.expected_half_width(error, have + more) < target, MOST_SEEDS)


def _more_images(difference: Estimate, target: float, error: float, images: int) -> int | None:
    have = max(difference.spread.trainings, 2)

    def suffices(more: int) -> bool:
        return difference.expected_half_width(error, have, (images + more) / images) < target

    more = _fewest(suffices, MOST_IMAGES)
    return None if more is None else _rounded(more)


def _fewest(suffices: Callable[[int], bool], most: int) -> int | None:
    """The smallest whole number from 1 that suffices, if larger ones always do; None where `most` does not."""
    low, high = 0, 1
    while not suffices(high):
        low, high = high, 2 * high
        if low >= most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _rounded(count: int) -> int:
    """Up to two digits: more would claim too much."""
    unit: int = 10 ** max(len(str(count)) - 2, 0)
    return ceil(count / unit) * unit
