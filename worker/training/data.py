"""Reads the arrays that one training needs from a dataset's folder, and rows of its image file without mapping it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import ImageSet, compute_digest, load
from analysis.arrays.folds import compute_job_splits
from analysis.arrays.relations import Relations
from heldout.errors import InvalidSpec
from heldout.spec.job import JobSpec

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
    """

    images: NDArray[Any]
    labels: NDArray[np.int32]
    rows: Mapping[str, NDArray[np.int32]]
    source: Mapping[str, NDArray[np.int64]]
    classes: tuple[str, ...]
    value_range: tuple[float, float]
    class_weights: NDArray[np.float32] | None

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
    """Compute the digest of each held-out split that is not the dataset's own: a fold's validation images."""
    return {} if spec.folds is None else {"validation": compute_digest(load(folder), data.source["validation"])}


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
