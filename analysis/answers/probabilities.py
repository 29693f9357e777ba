"""Checks probabilities from other programs, and what a zero means."""

from collections.abc import Mapping, Sequence
from reprlib import repr as short
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, Path, PredictionsRefused
from heldout.stored.evaluation import SplitName
from heldout.words import pluralize

# How far a row's sum may be from 1: with ten classes and two decimals it misses by 0.01, rarely more.
MAX_MISSED_SUM = 0.02
_PERCENT = 100.0


def check_probabilities(given: Sequence[Any] | NDArray[Any], path: Path) -> NDArray[np.float64]:
    """Return (images, classes) probabilities, each row summing to 1.

    One number per image is the probability of the second of two classes.

    Raises:
        PredictionsRefused: with the first wrong row.
    """
    rows = given.astype(np.float64) if isinstance(given, np.ndarray) else _make_array(given, path)
    if rows.ndim == 2 and rows.shape[1] == 1:
        rows = rows[:, 0]
    if rows.ndim == 1:
        rows = np.stack([1 - rows, rows], axis=1)
    if rows.ndim != 2 or not rows.shape[1]:
        raise PredictionsRefused(f"received an array of the shape {rows.shape}; expected (images, classes)", path)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise PredictionsRefused(f"received {_format_values(rows[row])}; expected finite numbers", (*path, row))
    # Rounding may move a softmax slightly below 0 or above 1.
    outside = (rows < -MAX_MISSED_SUM).any(axis=1) | (rows > 1 + MAX_MISSED_SUM).any(axis=1)
    sums = rows.sum(axis=1)
    wrong = outside | (np.abs(sums - 1) > MAX_MISSED_SUM)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise PredictionsRefused(_explain_refusal(rows, row), (*path, row))
    np.maximum(rows, 0, out=rows)  # our own copy
    rows /= rows.sum(axis=1, keepdims=True)
    return rows


def replace_zeros(
    probabilities: Mapping[SplitName, NDArray[np.float64]], labels: Mapping[SplitName, NDArray[np.int32]]
) -> tuple[dict[SplitName, Answers], tuple[str, ...]]:
    """Replace probabilities of 0 by half the smallest one present; return the answers and a note about it.

    A zero comes from rounding; the loss of its label would be infinite.
    """
    smallest = min((float(np.min(rows, where=rows > 0, initial=1.0)) for rows in probabilities.values()), default=1.0)
    least = max(float(np.finfo(np.float32).tiny), smallest / 2)
    found: dict[SplitName, Answers] = {}
    zeros = images = 0
    for name, rows in probabilities.items():
        of_label = rows[np.arange(len(rows)), labels[name]]
        zeros, images = zeros + int((of_label < least).sum()), images + len(rows)
        losses = -np.log(np.maximum(of_label, least))
        found[name] = Answers(labels[name], _clip_from_below(least, rows), losses, rows.argmax(axis=1).astype(np.int64))
    if not zeros:
        return found, ()
    note = (
        f"{zeros:,} of {pluralize(images, 'label')} {'has' if zeros == 1 else 'have'} a probability of 0, which would "
        f"make the loss infinite. It was replaced by {least:.2g}, half of the smallest probability in the data."
    )
    return found, (note,)


def _clip_from_below(least: float, rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.maximum(rows, least, out=np.empty(rows.shape, np.float32), casting="same_kind")


def _make_array(given: Sequence[Any], path: Path) -> NDArray[np.float64]:
    """Read an array from rows of numbers, or from numbers."""
    width = len(given[0]) if len(given) and isinstance(given[0], list | tuple) else None
    for row, values in enumerate(given):
        length = len(values) if isinstance(values, list | tuple) else None
        if length != width:
            raise PredictionsRefused(
                f"received {short(values)}; expected {'a number' if width is None else pluralize(width, 'number')}, as "
                "in the first row",
                (*path, row),
            )
    return np.array(given, np.float64)


def _explain_refusal(rows: NDArray[np.float64], row: int) -> str:
    values = rows[row]
    seen, total = _format_values(values), float(values.sum())
    if (values <= 0).all() and abs(float(np.exp(values).sum()) - 1) <= MAX_MISSED_SUM:
        return f"received {seen}, which are logarithms of probabilities; apply `exp` to them"
    if (values >= 0).all() and abs(total - _PERCENT) <= _PERCENT * MAX_MISSED_SUM:
        return f"received {seen}, which are percentages; divide them by 100"
    if (values < 0).any() or (values > 1).any():
        return (
            f"received {seen}, which are not probabilities. They look like outputs before the softmax (logits). Apply "
            "a softmax to each row, and send the result"
        )
    return (
        f"received {seen}, which sum to {total:.4g}; expected 1. If each class has its own sigmoid, the network does "
        "not choose one class for each image"
    )


def _format_values(values: NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values[:6]) + (", …]" if len(values) > 6 else "]")
