"""Confidence intervals of proportions."""

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
