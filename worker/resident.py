"""The images of a job, taken by row inside a graph: stored as they are, scaled when a batch is taken."""

from abc import ABC, abstractmethod

import tensorflow as tf

from worker.data import TrainingData


class BatchSource(ABC):
    """Where batches come from; whatever holds the images, they have the same bits."""

    def __init__(self, data: TrainingData) -> None:
        self._labels = tf.constant(data.labels)
        # Tensors that a graph takes from outside: as constants of the graph, the division would become a
        # multiplication by a rounded reciprocal.
        low, high = data.value_range
        self._low = tf.constant(low, tf.float32)
        self._span = tf.constant(high, tf.float32) - self._low
        self._starts_at_zero = low == 0

    @abstractmethod
    def pixels(self, rows: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, channels) of `rows`, as stored."""

    def labels(self, rows: tf.Tensor) -> tf.Tensor:
        """(batch,) int32 labels of `rows`."""
        return tf.gather(self._labels, rows)

    def batch(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, height, width, channels) float32 in [0, 1] and (batch,) int32 labels of `rows`."""
        pixels = tf.cast(self.pixels(rows), tf.float32)
        if not self._starts_at_zero:
            pixels -= self._low
        return pixels / self._span, self.labels(rows)


class ResidentData(BatchSource):
    """Images that stay on the device."""

    def __init__(self, data: TrainingData) -> None:
        super().__init__(data)
        self._images = tf.constant(data.images)

    def pixels(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._images, rows)
