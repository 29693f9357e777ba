"""Finds a renaming of a split's classes that certainly makes many answers right."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, compute_chance, split_into_halves

# Share of the images that a renaming must make right. Less does not matter.
MIN_GAIN = 0.01
# Right answers gained. Fewer can be chance even if none is lost.
MIN_GAINED_IMAGES = 10
# Probability that chance gains as much.
MAX_CHANCE = 0.001
# Natural logarithm of how much likelier the answers must be if the labels mean other classes: a thousand times.
MIN_LOG_LIKELIHOOD_GAIN = 7.0
# Images of a renamed class must be answered as that class with this share of its validation recall: all labels of a
# renaming together, and none certainly less. Rotated bags may all be taken for shirts, but then rotated shirts are not
# taken for bags.
MIN_SHARE_OF_RECALL = 0.5
# Probability that chance alone makes any label of a renaming fall below.
MAX_CHANCE_OF_LESS = 0.1


def choose_renaming(
    answers: Answers, validation: NDArray[np.int64], usual: Sequence[Sequence[int]] = ()
) -> tuple[int, ...] | None:
    """Return for each label the class that it means, if that is certainly not the class of its own name.

    A label means the class whose validation images get similar answers. That is not always its most frequent answer: a
    network that takes shirts for coats does so on validation, too.

    For any small set of answers, some renaming is better than the labels. So a renaming only counts if renamings chosen
    in the same way on one part of the images certainly make answers right on the other part. A usual mistake is one of
    a few. So it only has to gain certainly, and it is chosen if it gains as much.

    Args:
        validation: `count_confusion` of the validation images, whose labels are correct.
        usual: renamings by usual mistakes, see `list_usual_renamings`.
    Returns:
        None if the labels are correct, judging by these answers.
    """
    confusion = count_confusion(answers, len(validation))
    right, least = int(confusion.trace()), max(MIN_GAINED_IMAGES, MIN_GAIN * len(answers))
    # No renaming does better than the largest count of each label, or of each answer.
    if min(confusion.max(axis=0).sum(), confusion.max(axis=1).sum()) < right + least:
        return None
    likelihood = _compute_likelihood(confusion, validation)
    named = _keep_sure_parts(confusion, _find_likeliest(likelihood), likelihood, _compute_recalls(validation))
    gained = int(confusion[np.arange(len(named)), named].sum()) - right
    mistake = max(usual, key=partial(_count_right, confusion), default=None)
    if (
        mistake is not None
        and _count_right(confusion, mistake) - right >= max(gained, least)
        and _is_made(np.asarray(mistake), confusion, validation)
    ):
        return tuple(mistake)
    if gained < least or not _holds_on_other_images(answers, validation):
        return None
    return tuple(int(label) for label in named)


def _is_made(mistake: NDArray[np.int64], confusion: NDArray[np.int64], validation: NDArray[np.int64]) -> bool:
    """Return whether the mistake certainly makes more answers right, enough of them, and more than on validation."""
    moved = np.flatnonzero(np.arange(len(mistake)) != mistake)
    meant, images = mistake[moved], confusion[moved].sum(axis=1)
    gained, expected = int(confusion[moved, meant].sum()), float(images @ _compute_recalls(validation)[meant])
    if gained < MIN_SHARE_OF_RECALL * expected or not _is_surely_gained(gained, int(confusion[moved, moved].sum())):
        return False
    usual = int(validation[moved, meant].sum()) / max(1, int(validation[moved].sum()))
    return compute_chance(gained, int(images.sum()), usual) < MAX_CHANCE


def _count_right(confusion: NDArray[np.int64], renaming: Sequence[int]) -> int:
    return int(confusion[np.arange(len(confusion)), np.asarray(renaming)].sum())


def count_confusion(answers: Answers, classes: int) -> NDArray[np.int64]:
    """Return (classes, classes) counts with labels as rows and answers as columns."""
    pairs = np.bincount(answers.labels.astype(np.int64) * classes + answers.classes, minlength=classes * classes)
    return pairs.reshape(classes, classes)


def _compute_likelihood(confusion: NDArray[np.int64], validation: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (labels, classes) the log likelihood of a label's answers if it means a class.

    The class's validation images show how it is answered: Dirichlet-multinomial, with one additional image spread over
    all answers.
    """
    from scipy.special import gammaln

    known = validation + 1 / len(validation)
    images, total = confusion.sum(axis=1), known.sum(axis=1)
    likelihood = np.asarray(gammaln(total)[None] - gammaln(total[None] + images[:, None]), np.float64)
    for label, answers in enumerate(confusion):
        seen = np.flatnonzero(answers)
        likelihood[label] += (gammaln(known[:, seen] + answers[seen]) - gammaln(known[:, seen])).sum(axis=1)
    return likelihood


def _find_likeliest(likelihood: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return (classes,) a distinct class for each label, so that all answers together are as likely as possible."""
    from scipy.optimize import linear_sum_assignment

    named: NDArray[np.int64] = linear_sum_assignment(likelihood, maximize=True)[1]
    return named


def _keep_sure_parts(
    confusion: NDArray[np.int64],
    named: NDArray[np.int64],
    likelihood: NDArray[np.float64],
    recalls: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return the renaming without those cycles of labels for which it is not certain."""
    sure = np.arange(len(named))
    for cycle in _find_cycles(named):
        classes = named[cycle]
        gained, lost = int(confusion[cycle, classes].sum()), int(confusion[cycle, cycle].sum())
        expected = float(confusion[cycle].sum(axis=1) @ recalls[classes])
        likelier = float((likelihood[cycle, classes] - likelihood[cycle, cycle]).sum())
        if (
            likelier > MIN_LOG_LIKELIHOOD_GAIN
            and gained >= MIN_SHARE_OF_RECALL * expected
            and not _is_any_surely_less(confusion[cycle, classes], confusion[cycle].sum(axis=1), recalls[classes])
            and _is_surely_gained(gained, lost)
        ):
            sure[cycle] = classes
    return sure


def _is_any_surely_less(gained: NDArray[np.int64], images: NDArray[np.int64], recalls: NDArray[np.float64]) -> bool:
    """Return whether any label of a renaming is certainly answered as its new class too rarely."""
    from scipy.special import bdtr

    chance = bdtr(gained, images, MIN_SHARE_OF_RECALL * recalls)
    return bool(chance.min() < MAX_CHANCE_OF_LESS / len(gained))


def _compute_recalls(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (classes,) the share of each class's images that are right; the overall share if it has none."""
    counts, right = confusion.sum(axis=1), confusion.diagonal()
    return np.where(counts > 0, right / np.maximum(counts, 1), right.sum() / np.maximum(counts.sum(), 1))


def _find_cycles(named: NDArray[np.int64]) -> list[list[int]]:
    """Return the cycles of exchanged labels, without those that keep their class."""
    found, seen = [], set()
    for start in range(len(named)):
        cycle, label = [], start
        while label not in seen:
            seen.add(label)
            cycle.append(label)
            label = int(named[label])
        if len(cycle) > 1:
            found.append(cycle)
    return found


def _holds_on_other_images(answers: Answers, validation: NDArray[np.int64]) -> bool:
    """Return whether the likeliest renaming of one part of the images certainly does better on the other part."""
    parts = [answers.of(part) for part in split_into_halves(answers.labels)]
    gained = lost = 0
    for chosen_on, counted_on in (parts, parts[::-1]):
        named = _find_likeliest(_compute_likelihood(count_confusion(chosen_on, len(validation)), validation))
        right = named[counted_on.labels] == counted_on.classes
        gained += int((right & ~counted_on.right).sum())
        lost += int((counted_on.right & ~right).sum())
    return _is_surely_gained(gained, lost)


def _is_surely_gained(gained: int, lost: int) -> bool:
    """Return whether more answers are gained than by chance, with an exact one-sided binomial test."""
    return gained > lost and compute_chance(gained, gained + lost) < MAX_CHANCE
