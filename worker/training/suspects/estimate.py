"""How many labels of a dataset are wrong, with a range, and whether the networks learned enough to tell. Pure."""

import numpy as np
from numpy.typing import NDArray

from heldout.intervals import wilson_interval
from heldout.stored.suspects import WrongLabels
from worker.training.suspects.noise import Judged

# The range about the count: a share of it, and a share of the images that are hard for the networks. The true count was
# in it for most sets with planted wrong labels (docs/explanation/suspects.md).
OFF_BY_SHARE = 0.2
HARD_SHARE = 0.5
# How much more often than a guess the networks must be right.
BETTER_THAN_GUESSING = 1.1


def estimated(judged: Judged, said: NDArray[np.floating], labels: NDArray[np.int32]) -> WrongLabels:
    """The expected number of wrong labels, and a range about it.

    Where networks disagree with many labels that are probably right, images are hard, and the count is unsure.
    """
    count = float(judged.wrong.sum())
    disagree = int((said.argmax(axis=1) != labels).sum())
    off_by = OFF_BY_SHARE * count + HARD_SHARE * max(0.0, disagree - count)
    low, high = round(max(0.0, count - off_by)), round(min(len(labels), count + off_by))
    return WrongLabels(count=round(count), low=low, high=high)


def learned_enough(said: NDArray[np.floating], labels: NDArray[np.int32]) -> bool:
    """Whether the networks give unseen images their own label clearly more often than guessing would."""
    agree = int((said.argmax(axis=1) == labels).sum())
    guessing = int(np.max(np.bincount(labels))) / len(labels)
    return wilson_interval(agree, len(labels))[0] > BETTER_THAN_GUESSING * guessing
