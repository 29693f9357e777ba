"""The search for wrong labels: two rounds of networks judge images that they were not trained on.

The images are reduced first, so that time and memory do not depend on the size of the dataset's images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.arrays.dataset import BLOCK_BYTES, ImageSet
from analysis.arrays.folds import assign_folds, choose_stratified
from heldout.spec.network import NetworkSpec
from worker.training.data.training_data import ResidentData, TrainingData
from worker.training.networks.network import build_network
from worker.training.suspects.estimate import is_trusted

# Sides of at most this many pixels are kept, or fewer if all images would take more memory than this. Larger ones are
# divided by the smallest whole number that is enough.
MAX_SIDE = 32
MAX_BYTES = 512 * 1024**2
BYTE_RANGE = (0.0, 255.0)


def choose_seen_size(images: ImageSet) -> tuple[int, int]:
    """Return height and width of the images for the networks."""
    height, width, _ = images.shape
    factor = _choose_factor(images)
    return max(1, height // factor), max(1, width // factor)


def make_small_images(images: ImageSet) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Return (images, height, width, channels) as bytes, each pixel the mean of a square; and their range.

    Pixels at the right and the bottom that do not fill a square are cut off.
    """
    pixels, factor = images.images, _choose_factor(images)
    is_bytes = pixels.dtype == np.uint8
    if is_bytes and factor == 1:
        return np.asarray(pixels), images.value_range
    height, width = choose_seen_size(images)
    rows, columns = min(factor, images.shape[0]), min(factor, images.shape[1])
    low, high = images.value_range
    small = np.empty((len(pixels), height, width, images.shape[2]), np.uint8)
    at_once = max(1, BLOCK_BYTES // pixels[:1].nbytes)
    for first in range(0, len(pixels), at_once):
        block = pixels[first : first + at_once, : height * rows, : width * columns].astype(np.float32)
        means = block.reshape(len(block), height, rows, width, columns, -1).mean(axis=(2, 4))
        if not is_bytes:
            means = (means - low) / (high - low) * 255
        small[first : first + at_once] = np.rint(means).clip(0, 255)
    return small, images.value_range if is_bytes else BYTE_RANGE


def _choose_factor(images: ImageSet) -> int:
    height, width, channels = images.shape
    by_side = -(-max(height, width) // MAX_SIDE)
    by_memory = int(np.ceil(np.sqrt(len(images.images) * height * width * channels / MAX_BYTES)))
    return max(by_side, by_memory)


BATCH = 32
PREDICTED_AT_ONCE = 128
# Enough to learn what most images of a class have in common, too little to memorize single images.
NETWORK = NetworkSpec.model_validate(
    {
        "blocks": [
            {"filters": 16, "kernel_size": 3, "padding": "same", "pool": 2},
            {"filters": 32, "kernel_size": 3, "padding": "same", "pool": 2},
        ],
        "dense": [{"units": 64, "dropout": 0.5}],
    }
)
PEAK_RATE = 2e-3
# Batches are shifted by up to this share of the images' sides: networks that see each image at several positions learn
# much more from few images (docs/measurements/suspects.md).
MAX_SHIFT = 1 / 12


class Members:
    """Networks that share a graph: their steps run in parallel, on all cores.

    Each operation has one thread, so the bits do not depend on the number of cores.
    """

    def __init__(self, data: TrainingData, count: int) -> None:
        self._image, self._classes = data.image, len(data.classes)
        self._source = ResidentData(data)
        self._networks = [build_network(NETWORK, self._image, self._classes, seed) for seed in range(count)]
        self._optimizers = [keras.optimizers.Adam(PEAK_RATE) for _ in range(count)]
        self._loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        for network, optimizer in zip(self._networks, self._optimizers, strict=True):
            optimizer.build(network.trainable_variables)
        self._train = tf.function(self._run_steps, autograph=False)
        self._predict = tf.function(self._compute_probabilities, autograph=False)

    def reset(self, seed: int) -> None:
        """Start again, with other initial weights for each seed."""
        for number, (network, optimizer) in enumerate(zip(self._networks, self._optimizers, strict=True)):
            fresh = build_network(NETWORK, self._image, self._classes, 1000 * seed + number)
            for old, new in zip(network.variables, fresh.variables, strict=True):
                old.assign(new)
            for variable in optimizer.variables:
                variable.assign(tf.zeros_like(variable))

    def train(self, rows: NDArray[np.int32], rates: NDArray[np.float32]) -> None:
        """Take a step for each of `rates` on the next batch of (members, steps × BATCH) `rows`."""
        self._train(tf.constant(rows), tf.constant(rates))

    def probabilities(self, rows: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float32]]:
        """Return each network's answers to its `rows`: (rows, classes) each."""
        longest = -(-max(map(len, rows)) // PREDICTED_AT_ONCE) * PREDICTED_AT_ONCE
        padded = np.stack([np.pad(row, (0, longest - len(row))) for row in rows])
        probabilities = self._predict(tf.constant(padded))
        return [predicted.numpy()[: len(own)] for predicted, own in zip(probabilities, rows, strict=True)]

    def _run_steps(self, rows: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
        rows = tf.ensure_shape(rows, [len(self._networks), None])
        rates = tf.ensure_shape(rates, [None])

        def take_step(step: tf.Tensor) -> tuple[tf.Tensor]:
            begin = step * BATCH
            for number, (network, optimizer) in enumerate(zip(self._networks, self._optimizers, strict=True)):
                images, labels = self._source.batch(rows[number, begin : begin + BATCH])
                images = _shift_images(images, tf.stack([step, rows[number, begin]]))
                optimizer.learning_rate.assign(rates[step])
                with tf.GradientTape() as tape:
                    loss = self._loss(labels, network(images, training=True))
                variables = network.trainable_variables
                optimizer.apply(tape.gradient(loss, variables), variables)
            return (step + 1,)

        return tf.while_loop(lambda step: step < tf.size(rates), take_step, (tf.constant(0),), parallel_iterations=1)

    def _compute_probabilities(self, rows: tf.Tensor) -> list[tf.Tensor]:
        probabilities = []
        for number, network in enumerate(self._networks):
            batches = tf.reshape(rows[number], [-1, PREDICTED_AT_ONCE])
            answers = tf.map_fn(
                lambda batch, network=network: tf.nn.softmax(network(self._source.batch(batch)[0], training=False)),
                batches,
                fn_output_signature=tf.float32,
                parallel_iterations=1,
            )
            probabilities.append(tf.reshape(answers, [-1, self._classes]))
        return probabilities


def _shift_images(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Move a batch of images by the same few pixels; the border mirrors the inside."""
    _, height, width, channels = images.shape
    down, right = round(height * MAX_SHIFT), round(width * MAX_SHIFT)
    padded = tf.pad(images, [[0, 0], [down, down], [right, right], [0, 0]], "SYMMETRIC")
    # One batch has one shift: a shift for each image takes as long as a layer of the network.
    top, left = tf.unstack(tf.random.stateless_uniform([2], seed, 0.0, 1.0))
    top, left = (tf.cast(place * (2 * by + 1), tf.int32) for place, by in ((top, down), (left, right)))
    return tf.ensure_shape(tf.slice(padded, [0, top, left, 0], [-1, height, width, channels]), images.shape)


FOLDS = 4
# The second round does not train on the suspects of the first. Both are counted.
ROUNDS = 2
# How often a network sees each of its images, within limits of how many it sees in total.
VISITS = 22
MIN_SEEN, MAX_SEEN = 6_400, 100_000
# The networks' answers are averaged over these parts of their training.
PARTS = 4
COUNTED_PARTS = 2
# The most images that one network is trained on; all images are judged.
MAX_TRAINED_ON = 20_000


@dataclass(frozen=True)
class Found:
    """The result of a search.

    probabilities: (images, classes) mean answers of networks that did not see an image.
    networks, trained_on: how many networks were trained, and on how many images at most.
    """

    probabilities: NDArray[np.float32]
    networks: int
    trained_on: int


def find_suspects(images: ImageSet, units: NDArray[np.int64], seed: int) -> Found:
    """Judge all labels of a dataset. The same dataset and seed give the same bits on the same kind of processor.

    Args:
        units: (images,) a number for each unit of images that belong together: no network is trained on part of a unit
        and judges the rest.
    """
    labels = np.asarray(images.labels, np.int32)
    folds_count = min(FOLDS, len(np.unique(units)))
    if folds_count < 2:  # no network can be trained without the images that it judges
        guess = np.full((len(labels), len(images.classes)), 1 / len(images.classes), np.float32)
        return Found(guess, 0, 0)
    pixels, value_range = make_small_images(images)
    members = Members(TrainingData(pixels, labels, {}, {}, images.classes, value_range, None), folds_count)
    del pixels  # TensorFlow has a copy
    draws = np.random.default_rng([seed, 1])
    may_train = np.ones(len(labels), np.bool_)
    probabilities = np.zeros((len(labels), len(images.classes)), np.float32)
    trained_on = 0
    for round_ in range(ROUNDS):
        members.reset(ROUNDS * seed + round_)
        folds = assign_folds(labels, np.arange(len(labels)), units, folds=folds_count, seed=ROUNDS * seed + round_)
        chosen = [_choose_rows_of_fold(labels, may_train, folds != fold) for fold in range(folds_count)]
        trained_on = max(trained_on, *map(len, chosen))
        probabilities += _predict_unseen(members, chosen, folds, len(images.classes), draws) / ROUNDS
        may_train = is_trusted(probabilities / probabilities.sum(axis=1, keepdims=True), labels, seed)
    return Found(probabilities, ROUNDS * folds_count, trained_on)


def _choose_rows_of_fold(
    labels: NDArray[np.int32], may_train: NDArray[np.bool_], others: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Choose images of the other folds. Networks that agree with no label there do not tell which to leave out."""
    trusted = may_train & others
    return choose_training_rows(labels, trusted if trusted.any() else others, MAX_TRAINED_ON)


def _predict_unseen(
    members: Members,
    chosen: list[NDArray[np.int32]],
    folds: NDArray[np.int64],
    classes: int,
    draws: np.random.Generator,
) -> NDArray[np.float32]:
    """Return (images, classes) answers to each fold by the network that is trained without it."""
    seen = np.clip(VISITS * max(map(len, chosen)), MIN_SEEN, MAX_SEEN)
    steps = int(seen) // (PARTS * BATCH)
    rates = (PEAK_RATE * np.minimum(1, np.linspace(2, 0, PARTS * steps))).astype(np.float32)
    orders = [_order(rows, draws) for rows in chosen]
    unseen = [np.flatnonzero(folds == fold).astype(np.int32) for fold in range(len(chosen))]
    probabilities = np.zeros((len(folds), classes), np.float32)
    for part in range(PARTS):
        rows = np.stack([[next(order) for _ in range(steps * BATCH)] for order in orders]).astype(np.int32)
        members.train(rows, rates[part * steps : (part + 1) * steps])
        if part >= PARTS - COUNTED_PARTS:
            for own, answers in zip(unseen, members.probabilities(unseen), strict=True):
                probabilities[own] += answers / COUNTED_PARTS
    return probabilities


def _order(rows: NDArray[np.int32], draws: np.random.Generator) -> Iterator[int]:
    """Yield the rows in successive random orders."""
    while True:
        yield from draws.permutation(rows).tolist()


def choose_training_rows(labels: NDArray[np.int32], may_be_used: NDArray[np.bool_], limit: int) -> NDArray[np.int32]:
    """Choose the images that a network is trained on among those allowed, each class with its share of `limit`."""
    rows = np.flatnonzero(may_be_used)
    return rows[choose_stratified(labels[rows], limit)].astype(np.int32)
