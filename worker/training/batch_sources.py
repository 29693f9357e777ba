"""The images of a job by row: gathered inside a graph, or read from their file a few batches ahead."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.training.data import MappedImageFile, TrainingData, is_aligned
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
        self._is_unit = (low, high) == (0, 1)  # as features are: to divide by one would only take time

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
        if self._is_unit:
            return pixels, self.labels(rows)
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


# How many batches are read while one is computed on.
BATCHES_AHEAD = 2


class StreamedData(BatchSource):
    """Returns the same batches as resident images, bit for bit; memory holds a few batches and the labels.

    `expect` announces the order of the batches, so that they are read ahead. Only the rows decide the content of a
    batch: a wrong order costs time but changes nothing.
    """

    def __init__(self, data: TrainingData) -> None:
        super().__init__(data)
        images = data.images
        assert isinstance(images, np.memmap), "only images in a file can be streamed"
        self._file = MappedImageFile(images)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._order = np.empty(0, np.int32)
        self._batch_size = 1
        self._places = np.full(len(images), -1, np.int32)  # of each row in the order
        self._ahead: dict[int, Future[NDArray[Any]]] = {}
        self._lock = threading.Lock()

    def expect(self, rows: NDArray[np.int32], batch_size: int) -> None:
        self._ahead = {}
        self._places[self._order] = -1
        self._order, self._batch_size = rows, batch_size
        self._places[rows] = np.arange(len(rows), dtype=np.int32)

    def pixels(self, rows: tf.Tensor) -> tf.Tensor:
        read = tf.numpy_function(self._take, [rows], tf.as_dtype(self._file.dtype))
        return tf.ensure_shape(read, [None, *self._file.image])

    def _take(self, rows: NDArray[np.int32]) -> NDArray[Any]:
        """Return the images of some rows: a whole batch of the order, or a part of one for a tower or a replica."""
        place = int(self._places[rows[0]]) if len(rows) else -1
        number, begin = divmod(place, self._batch_size)
        end = begin + len(rows)
        expected = place >= 0 and end <= self._batch_size
        if expected and np.array_equal(self._order[place : place + len(rows)], rows):
            return self._get_batch(number)[begin:end]
        return self._file.read(rows)

    def _get_batch(self, number: int) -> NDArray[Any]:
        """Return a batch of the announced order. The next ones are read ahead, and earlier ones are dropped."""
        batches = -(-len(self._order) // self._batch_size)
        with self._lock:  # towers and replicas call from separate threads
            for later in range(number, min(number + 1 + BATCHES_AHEAD, batches)):
                if later not in self._ahead:
                    begin = later * self._batch_size
                    rows = self._order[begin : begin + self._batch_size]
                    # Not aligned, so that TensorFlow copies it: otherwise it would hold the memory until a long graph
                    # call ends.
                    self._ahead[later] = self._reader.submit(self._file.read, rows)
            wanted = self._ahead[number]
            self._ahead = {later: read for later, read in self._ahead.items() if later >= number}
        return wanted.result()


def make_source(data: TrainingData, devices: Sequence[str] = ()) -> BatchSource:
    """Return the source of data in memory or in a file."""
    return StreamedData(data) if data.is_streamed else ResidentData(data, devices)
