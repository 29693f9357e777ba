"""A logistic function of a few named figures."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp


@dataclass(frozen=True)
class Weight:
    """What a figure adds to the log odds: `slope` per unit above `low`, and no more beyond `high`."""

    figure: str
    slope: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """Log odds that something is right. right, wrong: how many cases it was fitted on."""

    intercept: float
    weights: tuple[Weight, ...]
    right: int
    wrong: int


def compute_probability(fit: Fit, figure: Callable[[str], float | None]) -> float | None:
    """The probability from the figures that the fit names; None if one of them is unknown."""
    odds = fit.intercept
    for weight in fit.weights:
        value = figure(weight.figure)
        if value is None:
            return None
        odds += weight.slope * (min(max(value, weight.low), weight.high) - weight.low)
    return 1 / (1 + exp(-odds))
