"""What a gradient step takes: a batch that towers and replicas take parts of, and the examples that it becomes."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Examples:
    """Images as the network sees them, and what it should answer.

    images: (count, height, width, channels) float32 in [0, 1].
    labels: (count,) int32, the answers that count as right.
    targets: of the loss; the labels, or (count, classes) float32 shares of the classes.
    weights: (count,) float32 in the loss, or None where all images count alike.
    """

    images: tf.Tensor
    labels: tf.Tensor
    targets: tf.Tensor
    weights: tf.Tensor | None = None

    def make_batch(self) -> "Batch":
        """These examples to take parts of."""
        known = (self.images, self.labels, self.targets)
        return Batch(known if self.weights is None else (*known, self.weights), Examples)


@dataclass(frozen=True)
class Batch:
    """Images of one step, by tensors that have a row for each.

    rows: the tensors.
    make: makes examples of them, or of a part of them.
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
        """The images as the network sees them."""
        return self.make(*self.rows)
