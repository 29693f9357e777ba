"""Scores of answers, class by class: confusion, precision and recall, calibration, and the most confident mistakes."""

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.file_names import FileNames
from heldout.stored.evaluation import StoredClassScores, StoredMistake, StoredSplitScores

CALIBRATION_BINS = 15
MAX_MISTAKES = 20


def compute_scores(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int32],
    indices: NDArray[np.int64],
    names: FileNames | None = None,
) -> StoredSplitScores:
    """Compute the scores of one split.

    Args:
        probabilities: (images, classes).
        labels: (images,) positions of classes.
        indices: (images,) positions in the dataset, by which mistakes are named.
        names: the names of all images of the dataset.
    """
    classes = probabilities.shape[1]
    answers = probabilities.argmax(axis=1)
    pairs = np.bincount(labels.astype(np.int64) * classes + answers, minlength=classes * classes)
    confusion = pairs.reshape(classes, classes)
    confidence = probabilities[np.arange(len(answers)), answers].astype(np.float64)
    wrong = np.flatnonzero(answers != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:MAX_MISTAKES]
    return StoredSplitScores(
        confusion=confusion.tolist(),
        per_class=_score_classes(confusion),
        calibration_error=compute_calibration_error(confidence, answers == labels),
        mistakes=tuple(
            StoredMistake(
                index=int(indices[row]),
                member=None if names is None else names[int(indices[row])],
                label=int(labels[row]),
                answer=int(answers[row]),
                probability=float(confidence[row]),
            )
            for row in surest
        ),
    )


def _score_classes(confusion: NDArray[np.int64]) -> tuple[StoredClassScores, ...]:
    right, answered, labeled = confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)
    return tuple(
        StoredClassScores(
            count=int(labeled[place]),
            precision=_compute_share(right[place], answered[place]),
            recall=_compute_share(right[place], labeled[place]),
            f1=_compute_share(2 * right[place], answered[place] + labeled[place]),
        )
        for place in range(len(confusion))
    )


def _compute_share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def compute_calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Compute the expected calibration error of answers from their (count,) probabilities; None without answers.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks."""
    if not len(confidence):
        return None
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    confident = np.bincount(bins, weights=confidence, minlength=CALIBRATION_BINS)
    accurate = np.bincount(bins, weights=right, minlength=CALIBRATION_BINS)
    # A bin is weighted by its share of the images, which cancels the division of its mean.
    return float(np.abs(accurate - confident)[counts > 0].sum() / len(confidence))
