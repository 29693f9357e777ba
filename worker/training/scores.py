"""What predictions say class by class: who was taken for whom, how sure, and the surest mistakes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.training.data import TrainingData

BINS = 15
MISTAKES = 20


def evaluation_of(data: TrainingData, probabilities: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """For each split what `scores_of` says; the indices of mistakes are those of the dataset."""
    return {
        "classes": list(data.classes),
        "splits": {
            split: scores_of(chances, data.labels[data.rows[split]], data.source[split])
            for split, chances in probabilities.items()
        },
    }


def scores_of(
    probabilities: NDArray[np.float32], labels: NDArray[np.int32], indices: NDArray[np.int64]
) -> dict[str, Any]:
    """Scores of one split.

    Args:
        probabilities: (count, classes). labels: (count,) positions of classes. indices: (count,) of the images.
    Returns:
        confusion: (classes, classes) counts, rows the labels and columns the answers; per_class: count, precision,
        recall and F1 of each class, null where there is nothing to divide by; calibration_error: expected, over 15
        equal bins of the answer's probability; mistakes: the surest wrong answers, the surest first.
    """
    classes = probabilities.shape[1]
    answers = probabilities.argmax(axis=1)
    pairs = np.bincount(labels.astype(np.int64) * classes + answers, minlength=classes * classes)
    confusion = pairs.reshape(classes, classes)
    sure = probabilities[np.arange(len(answers)), answers].astype(np.float64)
    wrong = np.flatnonzero(answers != labels)
    surest = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]
    return {
        "confusion": confusion.tolist(),
        "per_class": _per_class(confusion),
        "calibration_error": _calibration_error(sure, answers == labels),
        "mistakes": [
            {
                "index": int(indices[row]),
                "label": int(labels[row]),
                "answer": int(answers[row]),
                "probability": float(sure[row]),
            }
            for row in surest
        ],
    }


def _per_class(confusion: NDArray[np.int64]) -> list[dict[str, Any]]:
    right, named, there = confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)
    return [
        {
            "count": int(there[label]),
            "precision": _share(right[label], named[label]),
            "recall": _share(right[label], there[label]),
            "f1": _share(2 * right[label], named[label] + there[label]),
        }
        for label in range(len(confusion))
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _calibration_error(sure: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Source: Guo et al. 2017, On Calibration of Modern Neural Networks."""
    if not len(sure):
        return None
    bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    confidence = np.bincount(bins, weights=sure, minlength=BINS)
    accuracy = np.bincount(bins, weights=right, minlength=BINS)
    # The weight of a bin is its share of the images, which its mean is divided by again.
    return float(np.abs(accuracy - confidence)[counts > 0].sum() / len(sure))
