"""The probability that a verdict names what to fix first, for trainings whose gap was measured.

It was fitted on real image sets of many kinds and checked on sets left out of the fit; see `verdict_fit.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from math import log

from heldout.diagnosis.findings import Cause
from heldout.diagnosis.gap.budget import Gap
from heldout.diagnosis.logistic import compute_probability
from heldout.diagnosis.thresholds import LEAST_HALF_INTERVAL
from heldout.diagnosis.verdict_fit import FITS_OF_VERDICTS


def compute_verdict_confidence(verdict: str, causes: Sequence[Cause], gap: Gap) -> float | None:
    """Compute the probability, or return None if a figure is unknown, for example without validation answers."""
    fit = FITS_OF_VERDICTS.get(verdict, FITS_OF_VERDICTS[""])
    return compute_probability(fit, lambda name: FIGURES[name](causes, gap))


def _count_causes(causes: Sequence[Cause], gap: Gap) -> float:
    """Number of causes: the more there are, the more often a different cause should come first."""
    return float(len(causes))


def _measure_validation_images(causes: Sequence[Cause], gap: Gap) -> float | None:
    """Logarithm of the number of validation images."""
    return None if gap.validation is None else log(gap.validation.count)


def _measure_sureness(causes: Sequence[Cause], gap: Gap) -> float:
    """Effect of the first cause in units of half its interval; 0 if it has no interval."""
    first = causes[0] if causes else None
    if first is None or first.points is None or first.interval is None:
        return 0.0
    return first.points / max(first.points - first.interval[0], LEAST_HALF_INTERVAL)


FIGURES: Mapping[str, Callable[[Sequence[Cause], Gap], float | None]] = {
    "causes": _count_causes,
    "validation_images": _measure_validation_images,
    "sureness": _measure_sureness,
}
