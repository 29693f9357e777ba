"""Counts training labels that answers contradict, and measures how the losses of a training divide its images.

A network that has not memorized its labels yet answers an image with a wrong label as it answers others like it: it is
sure, and contradicts the label. Of hard images it is not sure.
"""

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers
from heldout.stored.gap import AnswersOfClass, AnswersToTraining, SortedAnswers, SureAnswers, TrainingLosses

# With more classes, the file would no longer be small if each were counted apart.
MAX_CLASSES = 200
TENTHS = 10
QUANTILES = np.arange(0.1, 0.95, 0.1)
_BLOCK = 4096  # images that are compared at the same time


def sort_answers(answers: Answers | None, epoch: int) -> SortedAnswers | None:
    """Count the labels that answers contradict, in tenths of the answers by their probability.

    Args:
        answers: with probabilities.
        epoch: whose weights have answered.
    Returns:
        None without images or probabilities.
    """
    if answers is None or not len(answers) or answers.probabilities is None:
        return None
    sureness = _find_sureness(answers)
    return SortedAnswers(
        epoch=epoch,
        count=len(answers),
        correct=int(answers.right.sum()),
        tenths=tuple(
            SureAnswers(
                count=len(rows),
                contradicted=int((~answers.right[rows]).sum()),
                probability=float(sureness[rows].mean(dtype=np.float64)),
            )
            for rows in _divide_by_sureness(sureness)
            if len(rows)
        ),
    )


def count_contradictions(answers: Answers, epoch: int, classes: int) -> AnswersToTraining | None:
    """Count the labels of training images that answers contradict, also by class. See `sort_answers`."""
    found = sort_answers(answers, epoch)
    if found is None or answers.probabilities is None:
        return None
    labels, is_surest = answers.labels, np.zeros(len(answers), bool)
    is_surest[np.concatenate(_divide_by_sureness(_find_sureness(answers))[:2])] = True
    claimed = _claim_classes(answers.probabilities, labels)
    of_class = (np.ones(len(answers), bool), answers.right, is_surest, is_surest & ~answers.right)
    counts = np.stack([np.bincount(labels[which], minlength=classes) for which in of_class], axis=1).tolist()
    return AnswersToTraining(
        **dict(found),
        claimed=int((claimed >= 0).sum()),
        claimed_by_others=int(((claimed >= 0) & (claimed != labels)).sum()),
        classes=tuple(
            AnswersOfClass(count=count, correct=correct, surest=surest, contradicted=contradicted)
            for count, correct, surest, contradicted in (counts if classes <= MAX_CLASSES else ())
        ),
    )


def _divide_by_sureness(sureness: NDArray[np.floating]) -> list[NDArray[np.int64]]:
    """Return the positions of each tenth of the answers, the surest first."""
    return np.array_split(np.argsort(-sureness, kind="stable"), TENTHS)


def _find_sureness(answers: Answers) -> NDArray[np.floating]:
    """Return (count,) the probability of each answer."""
    assert answers.probabilities is not None
    return answers.probabilities[np.arange(len(answers)), answers.classes]


def _claim_classes(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return (count,) the class that an image surely is of, by the answers; -1 if it may be of any.

    An image is surely of a class if the class is at least as probable as it is, on average, for images labeled so.
    Of several such classes the most probable counts.

    Source: Northcutt, Jiang and Chuang 2021, Journal of Artificial Intelligence Research 70 (confident joint).
    """
    count, classes = probabilities.shape
    own = probabilities[np.arange(count), labels].astype(np.float64)
    images = np.bincount(labels, minlength=classes)
    usual = np.where(images, np.bincount(labels, own, classes) / np.maximum(images, 1), np.inf)
    claimed = np.empty(count, np.int64)
    for begin in range(0, count, _BLOCK):
        predictions = probabilities[begin : begin + _BLOCK]
        reached = np.where(predictions >= usual, predictions, -1.0)
        claimed[begin : begin + _BLOCK] = np.where(reached.max(axis=1) < 0, -1, reached.argmax(axis=1))
    return claimed


def divide_losses(sums: NDArray[np.floating], epochs: int) -> TrainingLosses | None:
    """Divide training images into those that were easy to learn and those that were hard, by their losses.

    Args:
        sums: (training images,) the loss of each image, summed over all epochs.
    Returns:
        None if a loss is not finite, or if there are too few images to divide.
    """
    if not epochs or len(sums) < 2 or not np.isfinite(sums).all():
        return None
    means = np.sort(sums.astype(np.float64)) / epochs
    count, total = len(means), float(means.var()) * len(means)
    below = np.arange(1, count)
    totals = np.cumsum(means)
    lower, upper = totals[:-1] / below, (totals[-1] - totals[:-1]) / (count - below)
    between = below * (count - below) / count * (upper - lower) ** 2
    best = int(between.argmax())
    return TrainingLosses(
        epochs=epochs,
        quantiles=tuple(float(value) for value in np.quantile(means, QUANTILES)),
        hard=count - int(below[best]),
        count=count,
        easy_loss=float(lower[best]),
        hard_loss=float(upper[best]),
        separation=float(between[best] / total) if total else 0.0,
    )
