"""Whether a split names its classes otherwise than training does: the renaming that surely makes many answers right."""

import numpy as np
from numpy.typing import NDArray

from heldout.diagnosis.renaming import best_renaming
from worker.training.answers import Answers, halves_of

# Share of the images that a renaming must make right. Less does not matter.
MIN_GAIN = 0.01
# Right answers. Fewer can be luck even if none is lost by them.
MIN_GAINED_IMAGES = 7
# Probability that chance gains as much.
MAX_CHANCE = 0.01
# Share of a class' validation recall with which the images that are said to be of the class must be answered so.
MIN_SHARE_OF_RECALL = 0.5


def chosen_renaming(answers: Answers, recalls: NDArray[np.float64]) -> tuple[int, ...] | None:
    """For each label the class that it means, where that is surely not the class of its own name.

    Some renaming fits any few answers better than the labels do. So one counts only if renamings that are chosen in the
    same way on one part of these images make answers right on the other part, surely.

    Args:
        recalls: (classes,) share of the validation images of each class that are answered rightly.
    Returns:
        None if the labels mean what they say, as far as these answers can tell.
    """
    confusion = confusion_of(answers, len(recalls))
    least = max(MIN_GAINED_IMAGES, MIN_GAIN * len(answers))
    right = int(confusion.trace())
    named = best_renaming(confusion.tolist(), more_than=right + least - 1)
    if named is None:
        return None
    named = _sure_parts(confusion, named, recalls)
    gained = confusion[np.arange(len(named)), named].sum() - right
    if gained < least or not _holds_on_other_images(answers, len(recalls)):
        return None
    return tuple(named)


def confusion_of(answers: Answers, classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts, rows the labels and columns the answers."""
    pairs = np.bincount(answers.labels.astype(np.int64) * classes + answers.classes, minlength=classes * classes)
    return pairs.reshape(classes, classes)


def _sure_parts(confusion: NDArray[np.int64], named: list[int], recalls: NDArray[np.float64]) -> list[int]:
    """The renaming without those labels, exchanged among themselves, for which it is not sure."""
    from scipy.stats import binomtest

    sure = list(range(len(named)))
    for cycle in _cycles(named):
        classes = [named[label] for label in cycle]
        gained, lost = int(confusion[cycle, classes].sum()), int(confusion[cycle, cycle].sum())
        expected = float(confusion[cycle].sum(axis=1) @ recalls[classes])
        likely = gained >= MIN_SHARE_OF_RECALL * expected
        if gained > lost and likely and binomtest(gained, gained + lost, alternative="greater").pvalue < MAX_CHANCE:
            for label in cycle:
                sure[label] = named[label]
    return sure


def _cycles(named: list[int]) -> list[list[int]]:
    """The labels that are exchanged among themselves, without those that keep their class."""
    found, seen = [], set()
    for start in range(len(named)):
        cycle = []
        label = start
        while label not in seen:
            seen.add(label)
            cycle.append(label)
            label = named[label]
        if len(cycle) > 1:
            found.append(cycle)
    return found


def _holds_on_other_images(answers: Answers, classes: int) -> bool:
    """Whether the best renaming of one part of the images surely makes more answers right on the other, both ways."""
    from scipy.optimize import linear_sum_assignment
    from scipy.stats import binomtest

    parts = [answers.of(part) for part in halves_of(answers.labels)]
    gained = lost = 0
    for chosen_on, counted_on in (parts, parts[::-1]):
        named = linear_sum_assignment(confusion_of(chosen_on, classes), maximize=True)[1]
        right = named[counted_on.labels] == counted_on.classes
        gained += int((right & ~counted_on.right).sum())
        lost += int((counted_on.right & ~right).sum())
    return gained > lost and bool(binomtest(gained, gained + lost, alternative="greater").pvalue < MAX_CHANCE)
