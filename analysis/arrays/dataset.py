"""The internal format of a dataset: one folder of arrays that workers map without decoding."""

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.npy_rows import NpyRows

SPLITS = ("train", "validation", "test")
FILES = ("images.npy", "labels.npy", "splits.npz", "about.json")
BLOCK_IMAGES = 1024
BLOCK_BYTES = 4 * 1024**2  # of images, read at once for a digest


@dataclass(frozen=True)
class ImageSet:
    """Images with labels and splits.

    images: (count, height, width, channels), uint8 (or float32 where the source was float).
    labels: (count,), int32, positions in `classes`.
    splits: for each of train, validation, test the positions of its images, int64, in the source's order.
    value_range: the smallest and largest pixel value that the source can hold, e.g. (0, 255).
    """

    images: NDArray[Any]
    labels: NDArray[np.int32]
    splits: Mapping[str, NDArray[np.int64]]
    classes: tuple[str, ...]
    value_range: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (height, width, channels) of one image."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def per_class(self, split: str) -> list[int]:
        """Count the split's images of each class, in the order of `classes`."""
        counts: list[int] = np.bincount(self.labels[self.splits[split]], minlength=len(self.classes)).tolist()
        return counts


def compute_content_address(images: ImageSet) -> str:
    """Return the SHA-256 of everything that training can see: pixels, labels, splits, class names and range."""
    pixels = images.images
    blocks = (pixels[first : first + BLOCK_IMAGES] for first in range(0, len(pixels), BLOCK_IMAGES))
    return _compute_address(
        pixels.dtype, pixels.shape, blocks, images.labels, images.splits, images.classes, images.value_range
    )


def _compute_address(
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    blocks: Iterable[NDArray[Any]],
    labels: NDArray[np.int32],
    splits: Mapping[str, NDArray[np.int64]],
    classes: tuple[str, ...],
    value_range: tuple[float, float],
) -> str:
    """Compute the content address of images that come in blocks, in order; `shape` is the shape of all together."""
    digest = hashlib.sha256()
    digest.update(json.dumps([dtype.str, shape]).encode())
    digest.update(_encode_metadata(classes, value_range))
    for block in blocks:
        digest.update(np.ascontiguousarray(block).data)
    digest.update(np.ascontiguousarray(labels).data)
    for split in SPLITS:
        indices = np.ascontiguousarray(splits[split], dtype=np.int64)
        digest.update(len(indices).to_bytes(8, "little"))
        digest.update(indices.data)
    return digest.hexdigest()


def read_content_address(
    open_file: Callable[[str], AbstractContextManager[BinaryIO]], watch: Callable[[], object] = lambda: None
) -> str:
    """Compute the content address of the four files of the internal format, which are read in blocks.

    Args:
        open_file: opens one of `FILES`.
        watch: called before each block; what it raises ends the reading.
    Raises:
        ValueError: the files were not written by `save`.
    """
    content = {}
    for name in FILES[1:]:
        with open_file(name) as file:
            content[name] = io.BytesIO(file.read())
    try:
        about = json.load(content["about.json"])
        classes, (low, high) = tuple(about["classes"]), about["range"]
        labels = np.load(content["labels.npy"])
        with np.load(content["splits.npz"]) as arrays:
            splits = {split: arrays[split] for split in SPLITS}
    except Exception as error:
        raise ValueError("Received files that cannot be read.") from error
    if labels.dtype != np.int32:  # the address only covers their bytes
        raise ValueError(f"Received labels of {labels.dtype}; expected int32.")
    with open_file("images.npy") as file:
        rows, first = NpyRows(file), file.tell()
        if file.seek(0, io.SEEK_END) != first + len(rows) * rows.row_bytes:
            raise ValueError(f"Received a file whose size does not fit its images, {rows.shape}.")
        file.seek(first)
        at_once = max(1, min(BLOCK_IMAGES, BLOCK_BYTES // max(1, rows.row_bytes)))
        blocks = (block for block in rows.blocks(at_once) if not watch())
        return _compute_address(rows.dtype, rows.shape, blocks, labels, splits, classes, (low, high))


def compute_split_digests(images: ImageSet) -> dict[str, str]:
    """Compute for each split the SHA-256 of its images and labels, in order.

    Two versions of a dataset with the same test images and labels have the same digest for test, regardless of the rest
    and of class names.
    """
    return {split: compute_digest(images, images.splits[split]) for split in SPLITS}


def compute_digest(images: ImageSet, rows: NDArray[np.int64]) -> str:
    """Compute the SHA-256 of the images and labels in `rows`, in order."""
    pixels = images.images
    digest = hashlib.sha256(json.dumps([pixels.dtype.str, images.shape]).encode())
    image_bytes = max(1, pixels.dtype.itemsize * math.prod(images.shape))
    at_once = max(1, min(BLOCK_IMAGES, BLOCK_BYTES // image_bytes))
    for first in range(0, len(rows), at_once):
        digest.update(np.ascontiguousarray(pixels[rows[first : first + at_once]]).data)
    digest.update(np.ascontiguousarray(images.labels[rows], dtype="<i4").data)
    return digest.hexdigest()


def save(images: ImageSet, folder: Path) -> None:
    """Write the four files of the internal format into `folder`, which exists."""
    np.save(folder / "images.npy", np.ascontiguousarray(images.images))
    save_beside(folder, images.labels, images.splits, images.classes, images.value_range)


def save_beside(
    folder: Path,
    labels: NDArray[np.int32],
    splits: Mapping[str, NDArray[np.int64]],
    classes: tuple[str, ...],
    value_range: tuple[float, float],
) -> None:
    """Write the three small files of the internal format, next to existing images."""
    np.save(folder / "labels.npy", np.ascontiguousarray(labels, dtype=np.int32))
    indices: dict[str, Any] = {split: np.asarray(splits[split], np.int64) for split in SPLITS}
    np.savez(folder / "splits.npz", **indices)
    (folder / "about.json").write_bytes(_encode_metadata(classes, value_range))


def load(folder: Path) -> ImageSet:
    """Map a dataset in the internal format; pixels are read on access."""
    about = json.loads((folder / "about.json").read_bytes())
    with np.load(folder / "splits.npz") as splits:
        by_name = {split: splits[split] for split in SPLITS}
    images = np.load(folder / "images.npy", mmap_mode="r")
    images.filename = folder / "images.npy"  # NumPy resolves it, and a sandboxed process may not use the result
    return ImageSet(
        images=images,
        labels=np.load(folder / "labels.npy"),
        splits=by_name,
        classes=tuple(about["classes"]),
        value_range=(about["range"][0], about["range"][1]),
    )


def _encode_metadata(classes: tuple[str, ...], value_range: tuple[float, float]) -> bytes:
    return json.dumps({"classes": classes, "range": value_range}).encode()
