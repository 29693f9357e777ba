"""Small networks that are trained side by side, each without one fold, and what they say of that fold."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.spec.job import NetworkSpec
from worker.training.data import TrainingData
from worker.training.network import build_network
from worker.training.resident import ResidentData

BATCH = 32
PREDICTED_AT_ONCE = 128
# Enough for what most images of a class have in common, too little to learn single images by heart.
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
# Batches are shifted by up to this share of the images' sides: networks that see each image at several places learn
# much more from few images (docs/explanation/suspects.md).
MAX_SHIFT = 1 / 12


class Members:
    """Networks with a graph in common: their steps are taken at the same time, on as many cores as there are.

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
        self._train = tf.function(self._steps, autograph=False)
        self._predict = tf.function(self._probabilities, autograph=False)

    def reset(self, seed: int) -> None:
        """Begin anew, with other initial weights for each seed."""
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
        """What each network says of its `rows`: (rows, classes) each."""
        longest = -(-max(map(len, rows)) // PREDICTED_AT_ONCE) * PREDICTED_AT_ONCE
        padded = np.stack([np.pad(one, (0, longest - len(one))) for one in rows])
        said = self._predict(tf.constant(padded))
        return [one.numpy()[: len(own)] for one, own in zip(said, rows, strict=True)]

    def _steps(self, rows: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
        rows = tf.ensure_shape(rows, [len(self._networks), None])
        rates = tf.ensure_shape(rates, [None])

        def body(step: tf.Tensor) -> tuple[tf.Tensor]:
            begin = step * BATCH
            for number, (network, optimizer) in enumerate(zip(self._networks, self._optimizers, strict=True)):
                images, labels = self._source.batch(rows[number, begin : begin + BATCH])
                images = _shifted(images, tf.stack([step, rows[number, begin]]))
                optimizer.learning_rate.assign(rates[step])
                with tf.GradientTape() as tape:
                    loss = self._loss(labels, network(images, training=True))
                variables = network.trainable_variables
                optimizer.apply(tape.gradient(loss, variables), variables)
            return (step + 1,)

        return tf.while_loop(lambda step: step < tf.size(rates), body, (tf.constant(0),), parallel_iterations=1)

    def _probabilities(self, rows: tf.Tensor) -> list[tf.Tensor]:
        said = []
        for number, network in enumerate(self._networks):
            batches = tf.reshape(rows[number], [-1, PREDICTED_AT_ONCE])
            answers = tf.map_fn(
                lambda batch, network=network: tf.nn.softmax(network(self._source.batch(batch)[0], training=False)),
                batches,
                fn_output_signature=tf.float32,
                parallel_iterations=1,
            )
            said.append(tf.reshape(answers, [-1, self._classes]))
        return said


def _shifted(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """A batch of images, all moved by the same few pixels; what comes in from outside mirrors what is inside."""
    _, height, width, channels = images.shape
    down, right = round(height * MAX_SHIFT), round(width * MAX_SHIFT)
    padded = tf.pad(images, [[0, 0], [down, down], [right, right], [0, 0]], "SYMMETRIC")
    # One batch has one shift: a shift for each image takes as long as a layer of the network.
    top, left = tf.unstack(tf.random.stateless_uniform([2], seed, 0.0, 1.0))
    top, left = (tf.cast(place * (2 * by + 1), tf.int32) for place, by in ((top, down), (left, right)))
    return tf.ensure_shape(tf.slice(padded, [0, top, left, 0], [-1, height, width, channels]), images.shape)
