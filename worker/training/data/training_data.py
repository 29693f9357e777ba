"""The images of a training: read from a dataset's folder, and given in batches, from memory or a few batches ahead."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.answers.answers import Answers, Predictions
from analysis.arrays.dataset import ImageSet, compute_digest, load
from analysis.arrays.experiment_splits import change_splits
from analysis.arrays.folds import compute_job_splits
from analysis.arrays.relations import Relations
from heldout.errors import InvalidSpec
from heldout.spec.job import JobSpec
from heldout.work.kinds import ExperimentSpec
from worker.training.data.replicas import get_current_replica

# The alignment with which TensorFlow uses an array without a copy.
ALIGNMENT_BYTES = 64


class MappedImageFile:
    """Reads rows of a mapped array from the file that it maps. Threads may share it; it is closed with the process."""

    def __init__(self, images: "np.memmap[Any, Any]") -> None:
        self._file = os.open(Path(str(images.filename)), os.O_RDONLY | os.O_CLOEXEC)
        self._first = images.offset
        self.image, self.dtype = images.shape[1:], images.dtype

    def read(self, rows: NDArray[Any], into: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read the images in `rows`, in that order; adjacent rows, as in most splits, are read together.

        Args:
            into: (len(rows), *image), the target array.
        Raises:
            OSError: if the file ends before one of them does.
        """
        images = np.empty((len(rows), *self.image), self.dtype) if into is None else into
        size = images[:1].nbytes
        runs = [*np.flatnonzero(np.diff(rows, prepend=-2) != 1).tolist(), len(rows)]
        for begin, end in pairwise(runs):
            self._fill(memoryview(images[begin:end]).cast("B"), int(rows[begin]), size)
        return images

    def _fill(self, view: memoryview, row: int, size: int) -> None:
        place, count = self._first + row * size, 0
        while count < len(view):  # one call reads at most 2 GiB
            came = os.preadv(self._file, [view[count:]], place + count)
            if not came:
                raise OSError(f"Image {row + count // size} of the dataset is cut short.")
            count += came

    def close(self) -> None:
        os.close(self._file)


def make_aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an empty array that TensorFlow uses without a copy."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    room = np.empty(size + ALIGNMENT_BYTES, np.uint8)
    begin = -room.ctypes.data % ALIGNMENT_BYTES
    return room[begin : begin + size].view(dtype).reshape(shape)


def is_aligned(array: NDArray[Any]) -> bool:
    """Return whether TensorFlow uses the array without a copy."""
    return array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % ALIGNMENT_BYTES == 0


ClassWeights = Mapping[str, float] | str | None


@dataclass(frozen=True)
class TrainingData:
    """The images of the splits that a job uses, and the position of each split.

    images: (count, height, width, channels), uint8 or float32, as stored; in memory, or the dataset's own file.
    labels: (count,), int32, positions in `classes`.
    rows: for each split the rows of `images` that belong to it, int32, in the source's order.
    source: for each split the positions of the same images in the whole dataset, int64.
    class_weights: (classes,), float32, or None if all images have the same weight.
    groups: the group of each image of the whole dataset by the job's `group_column`, int64; None without one.
    """

    images: NDArray[Any]
    labels: NDArray[np.int32]
    rows: Mapping[str, NDArray[np.int32]]
    source: Mapping[str, NDArray[np.int64]]
    classes: tuple[str, ...]
    value_range: tuple[float, float]
    class_weights: NDArray[np.float32] | None
    groups: NDArray[np.int64] | None = None

    def make_answers(self, split: str, predictions: Predictions) -> Answers:
        """Return the answers to all images of a split."""
        groups = None if self.groups is None else self.groups[self.source[split]]
        return Answers.to(self.labels[self.rows[split]], predictions, groups)

    @property
    def is_streamed(self) -> bool:
        """Return whether the images stay in the dataset's file."""
        return isinstance(self.images, np.memmap)

    @property
    def image(self) -> tuple[int, int, int]:
        """(height, width, channels) of one image."""
        _, height, width, channels = self.images.shape
        return height, width, channels


def select(
    images: ImageSet, spec: JobSpec, resident_bytes: int | None = None, relations: Relations | None = None
) -> TrainingData:
    """Return the job's own splits of `images` that `spec` trains and measures on.

    There is no validation split if the spec trains on all of train and validation, and no test split if that is never
    measured.

    Args:
        resident_bytes: if the images would take more, all of them stay in their file.
        relations: the images that folds keep together; None if unknown.
    Raises:
        InvalidSpec: if `class_weights` names a label that the dataset does not have.
    """
    names = ["train"] + ["validation"] * spec.has_validation + ["test"] * (spec.evaluation.test != "never")
    own = compute_job_splits(images.labels, images.splits, spec, relations)
    if isinstance(spec, ExperimentSpec):
        own = change_splits(own, images.labels, spec, relations)
    source = {name: own[name] for name in names}
    data = take_images(images, source, resident_bytes)
    trained_on = data.labels[data.rows["train"]]
    return replace(data, class_weights=compute_class_weights(spec.training.class_weights, trained_on, images.classes))


def take_images(
    images: ImageSet, source: Mapping[str, NDArray[np.int64]], resident_bytes: int | None = None
) -> TrainingData:
    """Return the images of the splits in `source`, without class weights."""
    positions = np.concatenate(list(source.values()))
    pixels, labels = images.images, np.asarray(images.labels, np.int32)
    size = len(positions) * pixels[:1].nbytes
    if isinstance(pixels, np.memmap) and resident_bytes is not None and size > resident_bytes:
        rows = {name: split.astype(np.int32) for name, split in source.items()}
    else:
        ends = np.cumsum([len(split) for split in source.values()]).tolist()
        rows = {
            name: np.arange(end - len(split), end, dtype=np.int32)
            for (name, split), end in zip(source.items(), ends, strict=True)
        }
        pixels, labels = _copy_to_memory(pixels, positions), labels[positions]
    return TrainingData(
        images=pixels,
        labels=labels,
        rows=rows,
        source=source,
        classes=images.classes,
        value_range=images.value_range,
        class_weights=None,
    )


def _copy_to_memory(pixels: NDArray[Any], positions: NDArray[np.int64]) -> NDArray[Any]:
    """Copy the images at `positions` so that TensorFlow can use the copy directly."""
    images = make_aligned((len(positions), *pixels.shape[1:]), pixels.dtype)
    if not isinstance(pixels, np.memmap):
        np.take(pixels, positions, axis=0, out=images)
        return images
    file = MappedImageFile(pixels)
    try:
        return file.read(positions, into=images)
    finally:
        file.close()


def compute_own_digests(folder: Path, spec: JobSpec, data: TrainingData) -> dict[str, str]:
    """Compute the digest of each held-out split that is not the dataset's own: of a fold, or divided again."""
    is_again = isinstance(spec, ExperimentSpec) and spec.splits_again is not None
    if spec.folds is None and not is_again:
        return {}
    return {"validation": compute_digest(load(folder), data.source["validation"])}


def compute_class_weights(
    wanted: ClassWeights, labels: NDArray[np.int32], classes: tuple[str, ...]
) -> NDArray[np.float32] | None:
    """Return (classes,) weights of each class in the loss; a label that is not named has 1.

    Raises:
        InvalidSpec: if a label is named that is not one of `classes`.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):
        counts = np.bincount(labels, minlength=len(classes))
        # A class without images has no meaningful weight; 1 keeps the vector finite.
        return np.where(counts > 0, len(labels) / (len(classes) * np.maximum(counts, 1)), 1.0).astype(np.float32)
    unknown = sorted(set(wanted) - set(classes))
    if unknown:
        detail = f"The dataset has no label {unknown[0]!r}; its labels are {', '.join(classes)[:500]}."
        raise InvalidSpec(detail, pointer="/training/class_weights")
    return np.asarray([wanted.get(label, 1.0) for label in classes], np.float32)


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
        """Return (batch, height, width, channels) of `rows`, as stored."""

    @abstractmethod
    def expect(self, rows: NDArray[np.int32], batch_size: int) -> None:
        """Announce that `rows` come next, in this order and batch size; this can only change the speed."""

    def labels(self, rows: tf.Tensor) -> tf.Tensor:
        """Return (batch,) int32 labels of `rows`."""
        return tf.gather(self._labels, rows)

    def batch(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return (batch, height, width, channels) float32 in [0, 1] and (batch,) int32 labels of `rows`."""
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
        """Do nothing: the images are already in memory."""

    def pixels(self, rows: tf.Tensor) -> tf.Tensor:
        images = self._images[0] if len(self._images) == 1 else self._images[get_current_replica()]
        return tf.gather(images, rows)


def _share_images(images: NDArray[Any]) -> tf.Tensor:
    """Return the images as a tensor, sharing their memory if possible; they must not change then."""
    if not is_aligned(images):
        return tf.constant(images)
    return tf.experimental.dlpack.from_dlpack(images.__dlpack__())


def _copy_to_device(images: NDArray[Any], device: str) -> tf.Variable:
    """Copy to a variable: on a GPU TensorFlow gathers bytes from variables only, and all others on the host."""
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
