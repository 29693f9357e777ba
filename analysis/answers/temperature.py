"""Scores of answers, and one temperature for all probabilities: how overconfident a network is, and what fixes that."""

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.file_names import FileNames
from heldout.stored.evaluation import StoredClassScores, StoredMistake, StoredSplitScores
from heldout.stored.gap import Calibration, HeldOutName

# The least number of validation images. With fewer, the temperature would fit noise.
MIN_IMAGES = 50
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
_BISECTIONS = 40  # the relative error of the temperature is then 1e-11


def measure_calibration(
    log_probabilities: NDArray[np.float64],
    labels: NDArray[np.int32],
    halves: tuple[NDArray[np.int64], ...],
    split: HeldOutName = "validation",
) -> Calibration | None:
    """Compute the calibration of (count, classes) probabilities, before and after one temperature.

    Args:
        halves: positions of the images, in two parts; each is measured under the temperature fitted on the other.
    Returns:
        None for fewer than `MIN_IMAGES` images.
    """
    if len(labels) < MIN_IMAGES:
        return None
    after = np.empty_like(log_probabilities)
    for fitted_on, measured in (halves, halves[::-1]):
        temperature = fit_temperature(log_probabilities[fitted_on], labels[fitted_on])
        after[measured] = apply_temperature(log_probabilities[measured], temperature)
    return Calibration(
        split=split,
        temperature=fit_temperature(log_probabilities, labels),
        error_before=_compute_error(log_probabilities, labels),
        error_after=_compute_error(after, labels),
        loss_before=_compute_loss(log_probabilities, labels),
        loss_after=_compute_loss(after, labels),
    )


def fit_temperature(log_probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> float:
    """Return the temperature with the smallest log loss, within the limits.

    If all answers are right, that would be the lowest one, and the network would become certain of new images, too. So
    one more image then counts as wrong: the mean of the least confident tenth, with their second most probable class.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks; the additional image as in Platt 1999,
    Probabilistic Outputs for Support Vector Machines. The loss is convex in 1 / temperature, so that its slope has one
    zero, which bisection finds.
    """
    count = len(labels)
    weights, wanted = np.ones(count), log_probabilities[np.arange(count), labels].sum()
    if (log_probabilities.argmax(axis=1) == labels).all():
        second, first = np.partition(log_probabilities, (-2, -1), axis=1)[:, -2:].T
        doubtful = np.argsort(first - second, kind="stable")[: max(1, count // 10)]
        weights[doubtful] += 1 / len(doubtful)
        wanted += second[doubtful].mean()
    low, high = np.log(1 / MAX_TEMPERATURE), np.log(1 / MIN_TEMPERATURE)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        probabilities = np.exp(apply_temperature(log_probabilities, float(np.exp(-middle))))
        if weights @ (probabilities * log_probabilities).sum(axis=1) < wanted:
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def apply_temperature(log_probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return (count, classes) log probabilities of the same logits divided by `temperature`."""
    scaled = log_probabilities / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return scaled


def _compute_loss(log_probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> float:
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def _compute_error(log_probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> float:
    confidence = np.exp(log_probabilities.max(axis=1))
    return compute_calibration_error(confidence, log_probabilities.argmax(axis=1) == labels) or 0.0


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

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks.
    """
    if not len(confidence):
        return None
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    confident = np.bincount(bins, weights=confidence, minlength=CALIBRATION_BINS)
    accurate = np.bincount(bins, weights=right, minlength=CALIBRATION_BINS)
    # A bin is weighted by its share of the images, which cancels the division of its mean.
    return float(np.abs(accurate - confident)[counts > 0].sum() / len(confidence))
