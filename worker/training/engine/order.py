"""The order in which an epoch takes the training images."""

import numpy as np
from numpy.typing import NDArray

_ORDER_STREAM = 1  # keeps the order's draws apart from initial weights and augmentation


def draw_epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int32]:
    """Return (count,) the order of the training images in `epoch`; it differs for every epoch and seed."""
    return np.random.default_rng([seed, _ORDER_STREAM, epoch]).permutation(count).astype(np.int32)


def draw_balanced_order(seed: int, epoch: int, labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return (count,) places of training images in `epoch`, as many of each class and as many as there are images.

    All images of a class come in a random order, again and again, so none comes twice more often than another.
    """
    draws = np.random.default_rng([seed, _ORDER_STREAM, epoch])
    classes = np.unique(labels)
    counts = np.full(len(classes), len(labels) // len(classes))
    counts[draws.permutation(len(classes))[: len(labels) % len(classes)]] += 1
    taken = []
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        places = np.flatnonzero(labels == label)
        rounds = [draws.permutation(places) for _ in range(-(-count // len(places)))]
        taken.append(np.concatenate([*rounds, places[:0]])[:count])
    return draws.permutation(np.concatenate(taken)).astype(np.int32)
