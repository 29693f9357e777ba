"""The input of a gradient step: a batch that is divided among towers and replicas, and the examples made from it."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf


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
