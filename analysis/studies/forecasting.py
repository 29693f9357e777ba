"""Forecasts an error that was measured at growing numbers of training images, or says why it cannot. Pure.

Everything is computed in logarithms: a power law is a straight line there, and noise is a share of the error.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from heldout.statistics import compute_t_quantile

Method = Literal["power_law", "local"]

# A forecast from fewer sizes would follow the noise of one of them.
MIN_SIZES = 4
# A rise of this many standard errors is not chance, and neither is such a fall.
SURE_RISE = 2.5
SURE_FALL = 2.5
# Exponents of power laws that are tried. Beyond them no network learns.
EXPONENTS = np.linspace(0.05, 1.5, 59)
# How far a measured error deviates from a power law besides noise, as a share of the error.
MISFIT = 0.05
# The largest floor of a power law, as a share of the last error: a larger one would forecast that nothing helps.
MOST_FLOOR = 0.5
# For the local method: how much less each size counts than the next one, and how much of the slope is kept.
RECENT, KEPT_SLOPE = 0.5, 0.85
# The local method is used if its miss would have been less than this share of the power law's.
CLEARLY_LESS = 0.6
# How far the error after doubling is from the forecast: a share of the error, and a share of the forecast fall. Noise
# comes on top.
DOUBLING_MISFIT, FALL_MISFIT = 0.08, 0.2
# Noise between trainings of one size, as a share of the error. The second number is the part of the counting noise that
# another training of the same size does not repeat.
USUAL_NOISE, OWN_IMAGES = 0.12, 0.3
# The weight of the noise of all sizes relative to a size's own, in degrees of freedom.
OTHERS_DEGREES = 4
COVERED = 0.90


@dataclass(frozen=True)
class Size:
    """The errors on unseen images of networks trained on this many images.

    errors: the share of wrong answers of each training; seed by seed the same at every size.
    asked: how many images each training was measured on. different: how many distinct ones these are in all trainings
    together.
    """

    images: int
    errors: tuple[float, ...]
    asked: int
    different: int


@dataclass(frozen=True)
class Forecast:
    """The error at an untried number of images; the interval contains it in 90 of 100 cases."""

    images: int
    error: float
    interval: tuple[float, float]
    method: Method


@dataclass(frozen=True)
class NoForecast:
    """Why there is no forecast."""

    code: Literal["too_short", "no_errors", "not_monotone", "too_flat", "one_step"]
    images: tuple[int, ...] = ()  # the two sizes between which the error rises


@dataclass(frozen=True)
class _Curve:
    """Base-2 logarithms of image counts, logarithms of errors, and their noise, which differs between sizes."""

    doublings: NDArray[np.float64]
    logs: NDArray[np.float64]
    noise: NDArray[np.float64]

    def until(self, count: int) -> "_Curve":
        return _Curve(self.doublings[:count], self.logs[:count], self.noise[:count])


def forecast(sizes: Sequence[Size], images: int) -> Forecast | NoForecast:
    """Forecast the error at a larger number of images.

    Args:
        sizes: ascending.
    """
    if len(sizes) < MIN_SIZES:
        return NoForecast("too_short")
    if not any(sizes[-1].errors):
        return NoForecast("no_errors")
    curve = _fit_curve(sizes)
    rise = _find_rise(curve)
    if rise is not None:
        return NoForecast("not_monotone", (sizes[rise[0]].images, sizes[rise[1]].images))
    if not _falls(curve):
        return NoForecast("too_flat")
    if not _falls(curve.until(len(sizes) - 1)):
        return NoForecast("one_step")
    method = choose_method(curve)
    target = log(images) / log(2)
    expected = METHODS[method](curve, target)
    doublings = target - curve.doublings[-1]
    chosen_images = _compute_counting_variance(exp(curve.logs[-1]), sizes[-1].different)
    half = NormalDist().inv_cdf((1 + COVERED) / 2) * sqrt(
        (DOUBLING_MISFIT * doublings) ** 2
        + (FALL_MISFIT * (float(curve.logs[-1]) - expected)) ** 2
        + 2 * float(curve.noise[-1]) ** 2
        + chosen_images
    )
    low, high = exp(expected - half), min(1.0, exp(expected + half))
    return Forecast(images, exp(expected), (low, high), method)


def compute_intervals(sizes: Sequence[Size], error: float = 0.05) -> list[tuple[float, float]]:
    """Return for each size the bounds that miss its true error with probability `error`."""
    curve, trainings = _fit_curve(sizes), len(sizes[0].errors)
    t, z = compute_t_quantile(1 - error / 2, _count_degrees(trainings)), NormalDist().inv_cdf(1 - error / 2)
    bounds = []
    for size, middle, noise in zip(sizes, curve.logs, curve.noise, strict=True):
        half = sqrt((t * noise) ** 2 + z * z * _compute_counting_variance(exp(middle), size.different))
        bounds.append((0.0 if not any(size.errors) else exp(middle - half), min(1.0, exp(middle + half))))
    return bounds


def _fit_curve(sizes: Sequence[Size]) -> _Curve:
    """Noise is the variation between trainings of a size; estimates of all sizes support each other."""
    shares = np.array([[_avoid_zero(error, size.asked) for error in size.errors] for size in sizes])
    means, (count, trainings) = shares.mean(axis=1), shares.shape
    counted = np.array([_compute_counting_variance(mean, size.asked) for mean, size in zip(means, sizes, strict=True)])
    logs = np.log(shares)
    # The images of a seed are the same at every size, so errors that they share are not noise of the curve.
    rest = logs - logs.mean(axis=1, keepdims=True) - logs.mean(axis=0) + logs.mean()
    own = np.sum(rest**2, axis=1) / (trainings - 1) * count / max(count - 1, 1)
    others = max(float(np.median(own - OWN_IMAGES * counted)), 0.0)
    others = (USUAL_NOISE**2 + count * others) / (1 + count) + OWN_IMAGES * counted
    variance = (OTHERS_DEGREES * others + (trainings - 1) * own) / _count_degrees(trainings)
    return _Curve(np.log2([size.images for size in sizes]), np.log(means), np.sqrt(variance / trainings))


def _count_degrees(trainings: int) -> int:
    """Return the degrees of freedom of a size's noise."""
    return OTHERS_DEGREES + trainings - 1


def _compute_counting_variance(share: float, images: int) -> float:
    """Return the variance of the logarithm of a share counted on this many images."""
    return (1 - share) / (share * images)


def _avoid_zero(error: float, asked: int) -> float:
    """Return an error with a logarithm: half an image more, out of one more."""
    return (error * asked + 0.5) / (asked + 1)


def _find_rise(curve: _Curve) -> tuple[int, int] | None:
    """Return the two sizes between which the error rises most significantly; None if it may be chance."""
    count = len(curve.logs)
    rises = {
        (i, j): (curve.logs[j] - curve.logs[i]) / sqrt(curve.noise[i] ** 2 + curve.noise[j] ** 2)
        for i in range(count)
        for j in range(i + 1, count)
    }
    most = max(rises, key=lambda pair: rises[pair])
    return most if rises[most] > SURE_RISE else None


def _falls(curve: _Curve) -> bool:
    """Return whether the error at the largest size is certainly below that at the smallest."""
    return bool(curve.logs[0] - curve.logs[-1] >= SURE_FALL * sqrt(curve.noise[0] ** 2 + curve.noise[-1] ** 2))


# --- both methods ------------------------------------------------------------------------------------------


def choose_method(curve: _Curve) -> Method:
    """Return the method that would have forecast the last sizes better from earlier ones; the power law if in doubt."""
    missed: dict[Method, float] = dict.fromkeys(METHODS, 0.0)
    for count in range(3, len(curve.logs)):
        before = curve.until(count)
        for name, method in METHODS.items():
            missed[name] += abs(method(before, curve.doublings[count]) - float(curve.logs[count]))
    return "local" if missed["local"] < CLEARLY_LESS * missed["power_law"] else "power_law"


def forecast_by_power_law(curve: _Curve, target: float) -> float:
    """Return the logarithm of a·N^−b + c that fits all sizes best; c is at most a part of the last error."""
    errors = np.exp(curve.logs)
    # Return deviations as shares of the error; a noisy size counts less.
    weights = 1 / (errors * np.hypot(MISFIT, curve.noise))
    steps = curve.doublings - curve.doublings[-1]
    least, found = np.inf, float(curve.logs[-1])
    for exponent in EXPONENTS:
        falling = np.exp2(-exponent * steps)
        scale, floor = _fit(falling * weights, weights, errors * weights, most=MOST_FLOOR * float(errors[-1]))
        missed = float(np.sum(((scale * falling + floor - errors) * weights) ** 2))
        if missed < least:
            at_target = scale * 2.0 ** (-exponent * (target - float(curve.doublings[-1]))) + floor
            least, found = missed, log(at_target)
    return found


def forecast_locally(curve: _Curve, target: float) -> float:
    """Fit a straight line mainly through the last sizes, and continue it slightly less steeply; it never rises."""
    steps = curve.doublings - curve.doublings[-1]
    recent = RECENT ** np.arange(len(steps))[::-1]
    slope, level = np.polyfit(steps, curve.logs, 1, w=np.sqrt(recent) / np.hypot(MISFIT, curve.noise))
    return float(level) + KEPT_SLOPE * min(0.0, float(slope)) * (target - float(curve.doublings[-1]))


METHODS: dict[Method, Callable[[_Curve, float], float]] = {
    "local": forecast_locally,
    "power_law": forecast_by_power_law,
}


def _fit(
    first: NDArray[np.float64], second: NDArray[np.float64], wanted: NDArray[np.float64], most: float
) -> tuple[float, float]:
    """Fit two terms by least squares; the amount of the second is from 0 to `most`."""
    a, b, d = float(first @ first), float(first @ second), float(second @ second)
    p, q = float(first @ wanted), float(second @ wanted)
    determinant = a * d - b * b
    free = (q * a - p * b) / determinant if determinant > 1e-12 * a * d else 0.0
    amount = min(max(free, 0.0), most)
    return (p - b * amount) / a, amount
