"""How right a rule is: precision, recall and F1, with intervals from resampled trainings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000

Pairs = Sequence[tuple[bool, bool]]  # verdicts and the truth


def f1(pairs: Pairs) -> float:
    """F1; 1 if there was nothing to find and nothing was found."""
    right = sum(said and true for said, true in pairs)
    wrong = sum(said != true for said, true in pairs)
    return 2 * right / (2 * right + wrong) if right + wrong else 1.0


def precision(pairs: Pairs) -> float:
    said = [true for one, true in pairs if one]
    return sum(said) / len(said) if said else 0.0


def recall(pairs: Pairs) -> float:
    there = [one for one, true in pairs if true]
    return sum(there) / len(there) if there else 0.0


def cells(pairs: Pairs) -> str:
    """Precision, recall and F1 with its interval, as cells of a table."""
    low, high = bounds(resampled(pairs))
    return f"{precision(pairs):.2f} | {recall(pairs):.2f} | {f1(pairs):.3f} ({low:.3f}–{high:.3f})"


def lead(ours: Pairs, others: Pairs) -> str:
    """How much our F1 exceeds another rule's on the same trainings, in the same order: a paired bootstrap."""
    low, high = bounds(resampled(ours) - resampled(others))
    return f"{f1(ours) - f1(others):+.3f} ({low:+.3f} to {high:+.3f})"


def resampled(pairs: Pairs) -> NDArray[np.float64]:
    """Return (RESAMPLES,) F1 of resampled trainings."""
    both = np.asarray(pairs, bool)
    draws = draws_of(len(both))
    said, true = both[draws, 0], both[draws, 1]
    right, wrong = (said & true).sum(axis=1), (said != true).sum(axis=1)
    return np.where(right + wrong > 0, 2 * right / np.maximum(2 * right + wrong, 1), 1.0)


def draws_of(count: int) -> NDArray[np.int64]:
    """Return (RESAMPLES, count) places, seeded so that every rule meets the same draws."""
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))


def bounds(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95% interval of resamples."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
