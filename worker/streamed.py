"""The images of a job that do not fit into memory: read from their file when a batch is taken."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.data import TrainingData
from worker.resident import BatchSource


class StreamedData(BatchSource):
    """Takes the same batches as resident images do, bit for bit; memory holds one batch and the labels.

    The file is read, not mapped: pages of a mapping would count as this process's memory until the kernel wants them.
    """

    def __init__(self, data: TrainingData) -> None:
        super().__init__(data)
        images = data.images
        assert isinstance(images, np.memmap), "only images in a file can be streamed"
        self._file = os.open(Path(str(images.filename)), os.O_RDONLY | os.O_CLOEXEC)
        self._first = images.offset
        self._image, self._dtype = images.shape[1:], images.dtype

    def pixels(self, rows: tf.Tensor) -> tf.Tensor:
        read = tf.numpy_function(self._read, [rows], tf.as_dtype(self._dtype))
        return tf.ensure_shape(read, [None, *self._image])

    def _read(self, rows: NDArray[np.int32]) -> NDArray[Any]:
        batch = np.empty((len(rows), *self._image), self._dtype)
        for image, row in zip(batch, rows.tolist(), strict=True):
            view = memoryview(image).cast("B")
            if os.preadv(self._file, [view], self._first + row * image.nbytes) != image.nbytes:
                raise OSError(f"Image {row} of the dataset is cut short.")
        return batch
