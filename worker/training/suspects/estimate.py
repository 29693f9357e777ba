"""How many labels of a dataset are wrong, with a range, and whether the networks learned enough to tell. Pure."""

import numpy as np
from numpy.typing import NDArray

from heldout.intervals import wilson_interval
from heldout.stored.suspects import WrongLabels
from worker.training.suspects.noise import Judged

# What the estimate was off by, as a factor, in nine of ten sets with planted wrong labels; and in images of a thousand.
OFF_BY_FACTOR = 1.5
OFF_BY_SHARE = 0.005


def estimated(judged: Judged) -> WrongLabels:
    """The expected number of wrong labels, and a range about it."""
    count, images = float(judged.wrong.sum()), len(judged.wrong)
    low = count / OFF_BY_FACTOR - OFF_BY_SHARE * images
    high = count * OFF_BY_FACTOR + OFF_BY_SHARE * images
    return WrongLabels(count=round(count), low=max(0, round(low)), high=min(images, round(high)))


def learned_enough(said: NDArray[np.floating], labels: NDArray[np.int32]) -> bool:
    """Whether the networks give unseen images their own label clearly more often than guessing would."""
    agree = int((said.argmax(axis=1) == labels).sum())
    guessing = int(np.max(np.bincount(labels))) / len(labels)
    return wilson_interval(agree, len(labels))[0] > 1.1 * guessing
