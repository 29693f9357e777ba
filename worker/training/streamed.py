"""Reads a job's images that do not fit into memory from their file, a few batches ahead."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.training.data import TrainingData
from worker.training.image_file import MappedImageFile
from worker.training.resident import BatchSource

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
