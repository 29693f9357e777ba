"""Whether a split names its classes otherwise than training does: the renaming that surely makes many answers right."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, split_into_halves

# Share of the images that a renaming must make right. Less does not matter.
MIN_GAIN = 0.01
# Right answers. Fewer can be luck even if none is lost by them.
MIN_GAINED_IMAGES = 10
# Probability that chance gains as much.
MAX_CHANCE = 0.001
# Natural logarithm of how much likelier the answers must be if the labels mean other classes: a thousand times.
MIN_LOG_LIKELIHOOD_GAIN = 7.0
# Share of a class' validation recall with which the images that are said to be of the class must be answered so: all
# labels of a renaming together, and none surely less. Rotated bags may all be taken for shirts, but rotated shirts are
# then not taken for bags.
MIN_SHARE_OF_RECALL = 0.5
# Probability that chance alone makes any label of a renaming fall below.
MAX_CHANCE_OF_LESS = 0.1


def choose_renaming(
    answers: Answers, validation: NDArray[np.int64], usual: Sequence[Sequence[int]] = ()
) -> tuple[int, ...] | None:
    """For each label the class that it means, where that is surely not the class of its own name.

    A label means the class whose validation images are answered alike. That is not always the answer that it most often
    gets: a network that takes shirts for coats does so on validation, too.

    Of any few answers some renaming makes more right than the labels do. So one counts only if renamings that are
    chosen in the same way on one part of these images make answers right on the other part, surely. A usual mistake is
    one of a few, so that it only has to gain surely, and it is taken where it gains as much.

    Args:
        validation: `count_confusion` the validation images, whose labels mean what they say.
        usual: renamings that usual mistakes make, see `list_usual_renamings`.
    Returns:
        None if the labels mean what they say, as far as these answers can tell.
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
    """Whether the mistake surely makes more answers right, enough of them, and more than on validation."""
    from scipy.stats import binomtest

    moved = np.flatnonzero(np.arange(len(mistake)) != mistake)
    meant, images = mistake[moved], confusion[moved].sum(axis=1)
    gained, expected = int(confusion[moved, meant].sum()), float(images @ _compute_recalls(validation)[meant])
    if gained < MIN_SHARE_OF_RECALL * expected or not _is_surely_gained(gained, int(confusion[moved, moved].sum())):
        return False
    usual = int(validation[moved, meant].sum()) / max(1, int(validation[moved].sum()))
    return bool(binomtest(gained, int(images.sum()), usual, alternative="greater").pvalue < MAX_CHANCE)


def _count_right(confusion: NDArray[np.int64], renaming: Sequence[int]) -> int:
    return int(confusion[np.arange(len(confusion)), np.asarray(renaming)].sum())


def count_confusion(answers: Answers, classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts, rows the labels and columns the answers."""
    pairs = np.bincount(answers.labels.astype(np.int64) * classes + answers.classes, minlength=classes * classes)
    return pairs.reshape(classes, classes)


def _compute_likelihood(confusion: NDArray[np.int64], validation: NDArray[np.int64]) -> NDArray[np.float64]:
    """(classes, classes) log likelihood of a label's answers if it means a class: label by row, class by column.

    The class' validation images tell how it is answered, as far as so many images can: Dirichlet-multinomial, with one
    image more that is spread over all answers.
    """
    # Imported here: SciPy takes half a second to import, and few jobs need it.
    from scipy.special import gammaln

    known = validation + 1 / len(validation)
    images, total = confusion.sum(axis=1), known.sum(axis=1)
    likelihood = np.asarray(gammaln(total)[None] - gammaln(total[None] + images[:, None]), np.float64)
    for label, answers in enumerate(confusion):
        seen = np.flatnonzero(answers)
        likelihood[label] += (gammaln(known[:, seen] + answers[seen]) - gammaln(known[:, seen])).sum(axis=1)
    return likelihood


def _find_likeliest(likelihood: NDArray[np.float64]) -> NDArray[np.int64]:
    """(classes,) for each label a class of its own, so that all answers together are as likely as they can be."""
    from scipy.optimize import linear_sum_assignment

    named: NDArray[np.int64] = linear_sum_assignment(likelihood, maximize=True)[1]
    return named


def _keep_sure_parts(
    confusion: NDArray[np.int64],
    named: NDArray[np.int64],
    likelihood: NDArray[np.float64],
    recalls: NDArray[np.float64],
) -> NDArray[np.int64]:
    """The renaming without those labels, exchanged among themselves, for which it is not sure."""
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
    """Whether any label of a renaming is surely answered as its new class too rarely."""
    from scipy.stats import binom

    chance = binom.cdf(gained, images, MIN_SHARE_OF_RECALL * recalls)
    return bool(chance.min() < MAX_CHANCE_OF_LESS / len(gained))


def _compute_recalls(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """(classes,) share of each class' images that are answered rightly; the usual share for a class without images."""
    counts, right = confusion.sum(axis=1), confusion.diagonal()
    return np.where(counts > 0, right / np.maximum(counts, 1), right.sum() / np.maximum(counts.sum(), 1))


def _find_cycles(named: NDArray[np.int64]) -> list[list[int]]:
    """The labels that are exchanged among themselves, without those that keep their class."""
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
    """Whether the likeliest renaming of one part of the images surely makes more answers right on the other."""
    parts = [answers.of(part) for part in split_into_halves(answers.labels)]
    gained = lost = 0
    for chosen_on, counted_on in (parts, parts[::-1]):
        named = _find_likeliest(_compute_likelihood(count_confusion(chosen_on, len(validation)), validation))
        right = named[counted_on.labels] == counted_on.classes
        gained += int((right & ~counted_on.right).sum())
        lost += int((counted_on.right & ~right).sum())
    return _is_surely_gained(gained, lost)


def _is_surely_gained(gained: int, lost: int) -> bool:
    """Whether more answers are gained than chance would, by an exact binomial test of one side."""
    from scipy.stats import binomtest

    return gained > lost and bool(binomtest(gained, gained + lost, alternative="greater").pvalue < MAX_CHANCE)
