"""The input of a gradient step, and its parts: several devices train one network, each on a part of every batch."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class ReplicaPart:
    """The images [begin, end) of a batch that one replica takes, and the share of the batch that they are."""

    begin: tf.Tensor
    end: tf.Tensor
    share: tf.Tensor


class Replicas:
    """The devices of one training; if none are named, TensorFlow chooses one.

    Everything that creates variables runs in their scope. The batch, its order and its augmentation are the same for
    any number of devices; a sum over replicas has different last digits. Each draws dropout from the same state, as in
    Keras.
    """

    def __init__(self, devices: Sequence[str] = ()) -> None:
        self.devices = tuple(devices)
        self.count = max(1, len(self.devices))
        several = self.count > 1
        self._strategy = tf.distribute.MirroredStrategy(self.devices) if several else tf.distribute.get_strategy()

    def scope(self) -> AbstractContextManager[Any]:
        """Return the scope in which variables are created and steps are run for all replicas."""
        return self._strategy.scope()

    def run(self, step: Callable[..., tuple[tf.Tensor, ...]], rows: tf.Tensor, *args: Any) -> tuple[tf.Tensor, ...]:
        """Run `step(part, rows, *args)` on each replica, in a graph, and return the sums of their results."""

        def run_on_replica() -> tuple[tf.Tensor, ...]:
            return step(get_part(get_current_replica(), self.count, tf.shape(rows)[0]), rows, *args)

        given = self._strategy.run(run_on_replica)
        return tuple(self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for value in given)


def get_part(replica: int, replicas: int, count: tf.Tensor) -> ReplicaPart:
    """Return one replica's part of `count` images.

    If there are fewer images than replicas, some take one with no weight: convolutions crash on empty batches.
    """
    begin, end = replica * count // replicas, (replica + 1) * count // replicas
    share = tf.cast(end - begin, tf.float32) / tf.cast(count, tf.float32)
    begin = tf.minimum(begin, count - 1)
    return ReplicaPart(begin, tf.maximum(end, begin + 1), share)


def get_current_replica() -> int:
    """Return the number of the replica whose graph is being built, from 0; 0 outside of replicas."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else int(tf.get_static_value(context.replica_id_in_sync_group))


@dataclass(frozen=True)
class Examples:
    """Images as the network sees them, and the expected answers.

    images: (count, height, width, channels) float32 in [0, 1].
    labels: (count,) int32, the answers that count as right.
    targets: the loss's targets: the labels, or (count, classes) float32 shares of the classes.
    weights: (count,) float32 weights in the loss, or None if all images have the same weight.
    """

    images: tf.Tensor
    labels: tf.Tensor
    targets: tf.Tensor
    weights: tf.Tensor | None = None

    def make_batch(self) -> "Batch":
        """Return a batch of these examples."""
        known = (self.images, self.labels, self.targets)
        return Batch(known if self.weights is None else (*known, self.weights), Examples)


@dataclass(frozen=True)
class Batch:
    """The images of one step, as tensors with a row for each.

    rows: the tensors.
    make: makes examples from them, or from a part of them.
    """

    rows: tuple[tf.Tensor, ...]
    make: Callable[..., Examples]

    @property
    def count(self) -> tf.Tensor:
        """How many images there are."""
        return tf.shape(self.rows[0])[0]

    def part(self, taken: slice) -> "Batch":
        """Some of the images."""
        return Batch(tuple(row[taken] for row in self.rows), self.make)

    def examples(self) -> Examples:
        """Return the images as the network sees them."""
        return self.make(*self.rows)
