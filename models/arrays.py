"""The internal format of a dataset: one folder of arrays that workers map without decoding."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")
FILES = ("images.npy", "labels.npy", "splits.npz", "about.json")


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
        """(height, width, channels) of one image."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def per_class(self, split: str) -> list[int]:
        """How many images of each class the split holds, in the order of `classes`."""
        counts: list[int] = np.bincount(self.labels[self.splits[split]], minlength=len(self.classes)).tolist()
        return counts


def content_address(images: ImageSet) -> str:
    """SHA-256 of all that training can see: pixels, labels, splits, class names and range."""
    digest = hashlib.sha256()
    digest.update(json.dumps([images.images.dtype.str, images.images.shape]).encode())
    digest.update(_about(images))
    digest.update(np.ascontiguousarray(images.images).data)
    digest.update(np.ascontiguousarray(images.labels).data)
    for split in SPLITS:
        indices = np.ascontiguousarray(images.splits[split], dtype=np.int64)
        digest.update(len(indices).to_bytes(8, "little"))
        digest.update(indices.data)
    return digest.hexdigest()


def save(images: ImageSet, folder: Path) -> None:
    """Write the four files of the internal format into `folder`, which exists."""
    np.save(folder / "images.npy", np.ascontiguousarray(images.images))
    np.save(folder / "labels.npy", np.ascontiguousarray(images.labels, dtype=np.int32))
    splits: dict[str, Any] = {split: np.asarray(images.splits[split], np.int64) for split in SPLITS}
    np.savez(folder / "splits.npz", **splits)
    (folder / "about.json").write_bytes(_about(images))


def load(folder: Path) -> ImageSet:
    """Map a dataset in the internal format; pixels are read when they are touched."""
    about = json.loads((folder / "about.json").read_bytes())
    with np.load(folder / "splits.npz") as splits:
        by_name = {split: splits[split] for split in SPLITS}
    return ImageSet(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy"),
        splits=by_name,
        classes=tuple(about["classes"]),
        value_range=(about["range"][0], about["range"][1]),
    )


def _about(images: ImageSet) -> bytes:
    return json.dumps({"classes": images.classes, "range": images.value_range}).encode()
