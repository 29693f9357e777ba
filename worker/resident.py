"""The images of a job on its device: stored as they are, scaled when a batch is taken."""

import tensorflow as tf

from worker.data import TrainingData


class ResidentData:
    """Images and labels as tensors; batches are taken by row inside a graph."""

    def __init__(self, data: TrainingData) -> None:
        self.images = tf.constant(data.images)
        self.labels = tf.constant(data.labels)
        # Tensors that a graph takes from outside: as constants of the graph, the division would become a
        # multiplication by a rounded reciprocal.
        low, high = data.value_range
        self._low = tf.constant(low, tf.float32)
        self._span = tf.constant(high, tf.float32) - self._low
        self._starts_at_zero = low == 0

    def batch(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, height, width, channels) float32 in [0, 1] and (batch,) int32 labels of `rows`."""
        pixels = tf.cast(tf.gather(self.images, rows), tf.float32)
        if not self._starts_at_zero:
            pixels -= self._low
        return pixels / self._span, tf.gather(self.labels, rows)
