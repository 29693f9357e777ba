"""Confidence intervals of proportions and of their differences."""

from math import sqrt
from statistics import NormalDist


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of an accuracy, as fractions in [0, 1].

    Args:
        correct: images that were classified rightly, 0 <= correct <= total.
        total: images that were classified, at least 1.
        confidence: coverage, in (0, 1).
    Raises:
        ValueError: if the counts are impossible.
    Source: Wilson 1927, JASA 22(158).
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"Received {correct} correct of {total}; expected 0 <= correct <= total and total >= 1.")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = correct / total
    centre = share + z * z / (2 * total)
    spread = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At 0 and total the exact bounds are 0 and 1; rounding must not push them off.
    low = 0.0 if correct == 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if correct == total else min(1.0, (centre + spread) / scale)
    return low, high


def newcombe_interval(first: tuple[int, int], second: tuple[int, int], confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of the difference of two accuracies that were measured on different images, in [-1, 1].

    Args:
        first: correct and total images of the accuracy from which the other is taken away.
        second: correct and total images of the other.
        confidence: coverage, in (0, 1).
    Raises:
        ValueError: if the counts are impossible.
    Source: Newcombe 1998, Statistics in Medicine 17, method 10 (hybrid score).
    """
    low, high = wilson_interval(*first, confidence)
    other_low, other_high = wilson_interval(*second, confidence)
    share, other = first[0] / first[1], second[0] / second[1]
    difference = share - other
    below = sqrt((share - low) ** 2 + (other_high - other) ** 2)
    above = sqrt((high - share) ** 2 + (other - other_low) ** 2)
    return difference - below, difference + above
