"""The images of a job, gathered by row inside a graph: stored unscaled, scaled batch by batch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.training.data import TrainingData
from worker.training.image_file import is_aligned
from worker.training.replicas import get_current_replica


class BatchSource(ABC):
    """Returns batches by row. Every subclass returns the same bits, wherever it holds the images."""

    def __init__(self, data: TrainingData) -> None:
        self._labels = tf.constant(data.labels)
        # Tensors passed into a graph from outside: as constants, the division would become a multiplication by a
        # rounded reciprocal.
        low, high = data.value_range
        self._low = tf.constant(low, tf.float32)
        self._span = tf.constant(high, tf.float32) - self._low
        self._starts_at_zero = low == 0

    @abstractmethod
    def pixels(self, rows: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, channels) of `rows`, as stored."""

    @abstractmethod
    def expect(self, rows: NDArray[np.int32], batch_size: int) -> None:
        """Announce that `rows` come next, in this order and batch size; this can only change the speed."""

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
    """Images that stay in memory, or on each of the named devices."""

    def __init__(self, data: TrainingData, devices: Sequence[str] = ()) -> None:
        super().__init__(data)
        self._images = [_copy_to_device(data.images, device) for device in devices] or [_share_images(data.images)]

    def expect(self, rows: NDArray[np.int32], batch_size: int) -> None:
        """No-op: already in memory."""

    def pixels(self, rows: tf.Tensor) -> tf.Tensor:
        images = self._images[0] if len(self._images) == 1 else self._images[get_current_replica()]
        return tf.gather(images, rows)


def _share_images(images: NDArray[Any]) -> tf.Tensor:
    """Return the images as a tensor, sharing their memory if possible; they must not change then."""
    if not is_aligned(images):
        return tf.constant(images)
    return tf.experimental.dlpack.from_dlpack(images.__dlpack__())


def _copy_to_device(images: NDArray[Any], device: str) -> tf.Variable:
    """A variable, because on a GPU TensorFlow gathers bytes only from variables; others it gathers on the host."""
    with tf.device(device):
        return tf.Variable(images, trainable=False)
