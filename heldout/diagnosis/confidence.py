"""The probability that a verdict is right: a logistic function of a few figures that the rules already use.

`confidence_fit.py` and `verdict_fit.py` hold the coefficients and say which trainings they were fitted on.
"""

from collections.abc import Callable, Mapping, Sequence
from math import log, sqrt
from typing import Literal

from heldout.diagnosis.confidence_fit import FITS_OF_HISTORIES, FITS_OF_JOBS
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Cause
from heldout.diagnosis.gap import Gap
from heldout.diagnosis.history import Curve, take_finite
from heldout.diagnosis.logistic import compute_probability
from heldout.diagnosis.loss_trend import LossTrend
from heldout.diagnosis.thresholds import LEAST_HALF_INTERVAL, MIN_LIKELY, MIN_SURE, SMALLEST_RATIO
from heldout.diagnosis.verdict_fit import FITS_OF_VERDICTS

Certainty = Literal["proven", "sure", "likely", "not sure"]


def get_certainty(confidence: float | None, *, is_proven: bool = False) -> Certainty | None:
    """The word that people read instead of the probability."""
    if is_proven:
        return "proven"
    if confidence is None:
        return None
    return "sure" if confidence >= MIN_SURE else "likely" if confidence >= MIN_LIKELY else "not sure"


def compute_confidences(facts: Facts) -> Mapping[str, float | None]:
    """The probability that each verdict is true: for findings above `info`, and for `healthy`.

    A code is missing if too few trainings show how often it is true. The result is empty for answers from other
    programs. A value is None if a figure is unknown.
    """
    if facts.has_answers and not facts.curves.is_measured:
        return {}  # neither fit covers counts combined with curves from another program
    # Training figures from `fit` are averages under dropout and augmentation, so they say less and have their own fit.
    fits = FITS_OF_JOBS if facts.curves.is_measured else FITS_OF_HISTORIES
    return {code: compute_probability(fit, lambda name: FIGURES[name](facts)) for code, fit in fits.items()}


def _get_last(curve: Curve) -> float | None:
    known = take_finite(curve)
    return known[-1] if known else None


def _compare(trend: LossTrend | None, measure: Callable[[LossTrend], tuple[float, float]]) -> float | None:
    """Logarithm of one figure of a curve as a share of another; None if there is no curve."""
    if trend is None:
        return None
    value, of = measure(trend)
    ratio = value / of if of > 0 else 0.0 if value <= 0 else 1 / SMALLEST_RATIO
    return log(min(max(ratio, SMALLEST_RATIO), 1 / SMALLEST_RATIO))


def _compare_fall(trend: LossTrend | None) -> float | None:
    """How far a curve fell over the last third of the epochs, compared with its scale."""
    return _compare(trend, lambda curve: (curve.fall, curve.scale))


FIGURES: Mapping[str, Callable[[Facts], float | None]] = {
    # How far validation rose, compared with its lowest level and with the noise that training does not share.
    "rise": lambda facts: _compare(facts.curves.heldout, lambda curve: (curve.rise, curve.lowest)),
    "rise_sigmas": lambda facts: _compare(facts.curves.heldout, lambda curve: (curve.rise, facts.curves.own_noise)),
    "validation_fall": lambda facts: _compare_fall(facts.curves.heldout),
    "training_fall": lambda facts: _compare_fall(facts.curves.training),
    "fall_sigmas": lambda facts: _compare(facts.curves.heldout, lambda curve: (curve.fall, curve.noise)),
    # The noise of a single validation epoch.
    "noise": lambda facts: _compare(facts.curves.heldout, lambda curve: (curve.noise, curve.lowest)),
    "epochs": lambda facts: log(facts.curves.epochs) if facts.curves.epochs else None,
    # In the last epoch.
    "training_accuracy": lambda facts: _get_last(
        facts.curves.history.train_accuracy or facts.curves.history.fit_accuracy
    ),
    "validation_accuracy": lambda facts: _get_last(facts.curves.history.validation_accuracy),
}


def compute_verdict_confidence(verdict: str, causes: Sequence[Cause], gap: Gap) -> float | None:
    """Compute the probability, or return None if a figure is unknown, for example without validation answers."""
    fit = FITS_OF_VERDICTS.get(verdict, FITS_OF_VERDICTS[""])
    return compute_probability(fit, lambda name: FIGURES_OF_GAPS[name](causes, gap))


def _measure_sureness(causes: Sequence[Cause], gap: Gap) -> float:
    """Effect of the first cause in units of half its interval; 0 if it has no interval."""
    first = causes[0] if causes else None
    if first is None or first.points is None or first.interval is None:
        return 0.0
    return first.points / max(first.points - first.interval[0], LEAST_HALF_INTERVAL)


def _measure_disagreement(causes: Sequence[Cause], gap: Gap) -> float | None:
    """How far test is from validation, in standard errors; 0 if the first cause is that a figure is not true."""
    validation, test = gap.validation, gap.test
    if validation is None:
        return None
    if causes and causes[0].tier == "figures_not_true":
        return 0.0
    pooled = (validation.correct + test.correct) / (validation.count + test.count)
    error = sqrt(pooled * (1 - pooled) * (1 / validation.count + 1 / test.count))
    return abs(test.accuracy - validation.accuracy) / error if error else 0.0


FIGURES_OF_GAPS: Mapping[str, Callable[[Sequence[Cause], Gap], float | None]] = {
    # The more causes there are, the more often a different one should come first.
    "causes": lambda causes, _: float(len(causes)),
    "validation_images": lambda _, gap: None if gap.validation is None else log(gap.validation.count),
    "test_images": lambda _, gap: log(gap.test.count),
    # A fault that no rule has found shows in test or validation alone.
    "disagreement": _measure_disagreement,
    "sureness": _measure_sureness,
}
