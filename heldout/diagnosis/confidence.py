"""The probability that a verdict is right: a logistic function of a few figures that the rules already use.

`confidence_fit.py` and `verdict_fit.py` hold the coefficients and say which trainings they were fitted on.
"""

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Literal

from heldout.diagnosis.confidence_fit import FITS_OF_HISTORIES, FITS_OF_JOBS
from heldout.diagnosis.course import Course
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Cause
from heldout.diagnosis.gap import Gap
from heldout.diagnosis.history import Curve, take_finite
from heldout.diagnosis.logistic import compute_probability
from heldout.diagnosis.thresholds import LEAST_HALF_INTERVAL, MIN_LIKELY, MIN_SURE, SMALLEST_RATIO
from heldout.diagnosis.verdict_fit import FITS_OF_VERDICTS

Certainty = Literal["sure", "likely", "not sure"]


def get_certainty(confidence: float | None) -> Certainty | None:
    """The word that people read instead of the probability."""
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


def _measure_rise(facts: Facts) -> float | None:
    """Logarithm of validation's rise as a share of its lowest level."""
    heldout = facts.curves.heldout
    return None if heldout is None else _log_ratio(heldout.rise, heldout.lowest)


def _measure_rise_sigmas(facts: Facts) -> float | None:
    """Logarithm of validation's rise, in standard deviations of the noise that training does not share."""
    heldout = facts.curves.heldout
    return None if heldout is None else _log_ratio(heldout.rise, facts.curves.own_noise)


def _measure_validation_fall(facts: Facts) -> float | None:
    """Logarithm of validation's fall over the last third of the epochs, as a share of the curve's scale."""
    return _measure_fall(facts.curves.heldout)


def _measure_training_fall(facts: Facts) -> float | None:
    """Logarithm of training's fall over the last third of the epochs, as a share of the curve's scale."""
    return _measure_fall(facts.curves.training)


def _measure_fall(course: Course | None) -> float | None:
    return None if course is None else _log_ratio(course.fall, course.scale)


def _measure_fall_sigmas(facts: Facts) -> float | None:
    """Logarithm of validation's fall over the last third of the epochs, in standard deviations of its noise."""
    heldout = facts.curves.heldout
    return None if heldout is None else _log_ratio(heldout.fall, heldout.noise)


def _measure_noise(facts: Facts) -> float | None:
    """Logarithm of the noise of a single validation epoch, as a share of the lowest level."""
    heldout = facts.curves.heldout
    return None if heldout is None else _log_ratio(heldout.noise, heldout.lowest)


def _count_epochs(facts: Facts) -> float | None:
    """Logarithm of the number of epochs."""
    return log(facts.curves.epochs) if facts.curves.epochs else None


def _get_training_accuracy(facts: Facts) -> float | None:
    """Training accuracy in the last epoch."""
    history = facts.curves.history
    return _get_last(history.train_accuracy or history.fit_accuracy)


def _get_validation_accuracy(facts: Facts) -> float | None:
    """Validation accuracy in the last epoch."""
    return _get_last(facts.curves.history.validation_accuracy)


def _get_last(curve: Curve) -> float | None:
    known = take_finite(curve)
    return known[-1] if known else None


def _log_ratio(value: float, of: float) -> float:
    ratio = value / of if of > 0 else 0.0 if value <= 0 else 1 / SMALLEST_RATIO
    return log(min(max(ratio, SMALLEST_RATIO), 1 / SMALLEST_RATIO))


FIGURES: Mapping[str, Callable[[Facts], float | None]] = {
    "rise": _measure_rise,
    "rise_sigmas": _measure_rise_sigmas,
    "validation_fall": _measure_validation_fall,
    "training_fall": _measure_training_fall,
    "fall_sigmas": _measure_fall_sigmas,
    "noise": _measure_noise,
    "epochs": _count_epochs,
    "training_accuracy": _get_training_accuracy,
    "validation_accuracy": _get_validation_accuracy,
}


def compute_verdict_confidence(verdict: str, causes: Sequence[Cause], gap: Gap) -> float | None:
    """Compute the probability, or return None if a figure is unknown, for example without validation answers."""
    fit = FITS_OF_VERDICTS.get(verdict, FITS_OF_VERDICTS[""])
    return compute_probability(fit, lambda name: FIGURES_OF_GAPS[name](causes, gap))


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


FIGURES_OF_GAPS: Mapping[str, Callable[[Sequence[Cause], Gap], float | None]] = {
    "causes": _count_causes,
    "validation_images": _measure_validation_images,
    "sureness": _measure_sureness,
}
