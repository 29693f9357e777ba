"""The search for wrong labels: networks that are trained without an image, in two rounds, and what they say of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import ImageSet
from worker.training.data import TrainingData
from worker.training.suspects.estimate import is_trusted
from worker.training.suspects.folds import make_folds, training_rows
from worker.training.suspects.members import BATCH, PEAK_RATE, Members
from worker.training.suspects.pixels import small_images

FOLDS = 4
# The second round leaves out of training what the first one suspects. Both are counted.
ROUNDS = 2
# How often a network sees each of its images, within bounds of how many it sees in all.
VISITS = 22
MIN_SEEN, MAX_SEEN = 6_400, 100_000
# What networks say is the mean of what they say after each of these parts of their training.
PARTS = 4
COUNTED_PARTS = 2
# Images that one network is trained on at most; all images are judged.
MAX_TRAINED_ON = 20_000


@dataclass(frozen=True)
class Found:
    """What a search found.

    said: (images, classes) what networks that did not see an image say of it, on average.
    networks, trained_on: how many were trained, and on how many images at most.
    """

    said: NDArray[np.float32]
    networks: int
    trained_on: int


def find_suspects(images: ImageSet, units: NDArray[np.int32], seed: int) -> Found:
    """Judge all labels of a dataset. The same dataset and seed give the same bits on the same kind of processor.

    Args:
        units: (images,) a number for each unit of images that belong together: no network is trained on one and
            judges another.
    """
    labels = np.asarray(images.labels, np.int32)
    folds_count = min(FOLDS, len(np.unique(units)))
    if folds_count < 2:  # nothing can be trained without what it is to judge
        guess = np.full((len(labels), len(images.classes)), 1 / len(images.classes), np.float32)
        return Found(guess, 0, 0)
    pixels, value_range = small_images(images)
    members = Members(TrainingData(pixels, labels, {}, {}, images.classes, value_range, None), folds_count)
    del pixels  # TensorFlow has a copy
    draws = np.random.default_rng([seed, 1])
    may_train = np.ones(len(labels), np.bool_)
    said = np.zeros((len(labels), len(images.classes)), np.float32)
    trained_on = 0
    for round_ in range(ROUNDS):
        members.reset(ROUNDS * seed + round_)
        folds = make_folds(labels, units, folds_count, draws)
        chosen = [training_rows(labels, may_train & (folds != fold), MAX_TRAINED_ON) for fold in range(folds_count)]
        trained_on = max(trained_on, *map(len, chosen))
        said += _said_of_unseen(members, chosen, folds, len(images.classes), draws) / ROUNDS
        may_train = is_trusted(said / said.sum(axis=1, keepdims=True), labels, seed)
    return Found(said, ROUNDS * folds_count, trained_on)


def _said_of_unseen(
    members: Members,
    chosen: list[NDArray[np.int32]],
    folds: NDArray[np.int32],
    classes: int,
    draws: np.random.Generator,
) -> NDArray[np.float32]:
    """(images, classes) what the network that is trained without a fold says of it."""
    seen = np.clip(VISITS * max(map(len, chosen)), MIN_SEEN, MAX_SEEN)
    steps = int(seen) // (PARTS * BATCH)
    rates = (PEAK_RATE * np.minimum(1, np.linspace(2, 0, PARTS * steps))).astype(np.float32)
    orders = [_order(rows, draws) for rows in chosen]
    unseen = [np.flatnonzero(folds == fold).astype(np.int32) for fold in range(len(chosen))]
    said = np.zeros((len(folds), classes), np.float32)
    for part in range(PARTS):
        rows = np.stack([[next(order) for _ in range(steps * BATCH)] for order in orders]).astype(np.int32)
        members.train(rows, rates[part * steps : (part + 1) * steps])
        if part >= PARTS - COUNTED_PARTS:
            for own, answers in zip(unseen, members.probabilities(unseen), strict=True):
                said[own] += answers / COUNTED_PARTS
    return said


def _order(rows: NDArray[np.int32], draws: np.random.Generator) -> Iterator[int]:
    """The rows in one random order after another."""
    while True:
        yield from draws.permutation(rows).tolist()
