"""The noise of a curve: how far single epochs deviate from its trend."""

from itertools import pairwise
from math import sqrt
from statistics import median

from heldout.diagnosis.thresholds import MIN_SHARED_DIFFERENCES, NORMAL_DEVIATION_PER_MEDIAN


def estimate_noise(values: list[float], other: list[float] | None = None) -> float:
    """The standard deviation of one value around its trend, from third differences (a parabola has none).

    The beginning, where the trend bends most, counts only if there is little else. Three values show no noise.

    Args:
        other: the same weights' loss on other images. Movements that both share come from the weights and are not
            noise. The noise that is not shared is returned if it is smaller.
    """
    differences = _compute_third_differences(values)
    if not differences:
        return 0.0
    noise = _compute_deviation(differences)
    others = _compute_third_differences(other[: len(values)]) if other else []
    if len(others) != len(differences) or len(differences) < MIN_SHARED_DIFFERENCES:
        return noise
    pairs = list(zip(differences, others, strict=True))
    squares = sum(difference * difference for difference in others)
    share = max(0.0, sum(first * second for first, second in pairs) / squares) if squares else 0.0
    return min(noise, _compute_deviation([first - share * second for first, second in pairs]))


def _compute_third_differences(values: list[float]) -> list[float]:
    """Third differences, without the first quarter if there are more than six."""
    differences = values
    for _ in range(3):
        differences = [after - before for before, after in pairwise(differences)]
    return differences[len(differences) // 4 :] if len(differences) > 6 else differences


def _compute_deviation(third_differences: list[float]) -> float:
    """Deviation of one value: a third difference weights values by 1, 3, 3 and 1, whose squares sum to 20."""
    return NORMAL_DEVIATION_PER_MEDIAN * median(map(abs, third_differences)) / sqrt(20)
