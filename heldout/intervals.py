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
    share = correct / total
    centre, spread = _wilson(share, total, confidence)
    # At 0 and total the exact bounds are 0 and 1; rounding must not push them off.
    low = 0.0 if correct == 0 else max(0.0, centre - spread)
    high = 1.0 if correct == total else min(1.0, centre + spread)
    return low, high


def images_needed(share: float, half: float, confidence: float = 0.95) -> int:
    """The fewest images on which an accuracy of `share` has a Wilson interval of at most ± `half`.

    Args:
        share: in [0, 1].
        half: half of the interval's width, in (0, 0.5).
        confidence: coverage, in (0, 1).
    Source: Wilson 1927, as `wilson_interval`, of shares that need not be whole counts.
    """
    low, high = 0, 1
    while _wilson(share, high, confidence)[1] > half:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _wilson(share, middle, confidence)[1] > half else (low, middle)
    return high


def _wilson(share: float, total: int, confidence: float) -> tuple[float, float]:
    """The middle of the interval, and half of its width, which falls with `total`."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    scale = 1 + z * z / total
    spread = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (share + z * z / (2 * total)) / scale, spread / scale


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
