"""The features of a dataset's images, and what follows from them alone. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

# How many neighbors of each image are kept.
NEIGHBORS = 10
# Similarities are computed for this many images at once.
_BLOCK = 512


@dataclass(frozen=True)
class Neighbors:
    """The most similar other images of each image, the most similar first.

    rows: (images, neighbors) positions among these images. similarity: (images, neighbors) cosines.
    """

    rows: NDArray[np.int32]
    similarity: NDArray[np.float32]


def normalize(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return (images, features) with the mean image taken away, each of length 1."""
    centered = features.astype(np.float32)
    centered -= centered.mean(axis=0)
    lengths: NDArray[np.float32] = np.linalg.norm(centered, axis=1, keepdims=True)
    return np.asarray(centered / np.maximum(lengths, 1e-6), np.float32)


def find_neighbors(normalized: NDArray[np.float32], count: int = NEIGHBORS) -> Neighbors:
    """Find the nearest other images of each image. normalized: of `normalize`."""
    images = len(normalized)
    count = min(count, images - 1)
    rows = np.empty((images, count), np.int32)
    similarity = np.empty((images, count), np.float32)
    for first in range(0, images, _BLOCK):
        block = normalized[first : first + _BLOCK] @ normalized.T
        block[np.arange(len(block)), first + np.arange(len(block))] = -np.inf
        nearest = np.argpartition(-block, count - 1, axis=1)[:, :count] if count else rows[first : first + len(block)]
        found = np.take_along_axis(block, nearest, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        rows[first : first + len(block)] = np.take_along_axis(nearest, order, axis=1)
        similarity[first : first + len(block)] = np.take_along_axis(found, order, axis=1)
    return Neighbors(rows, similarity)


@dataclass(frozen=True)
class Picture:
    """What a page shows of a dataset's features.

    ids: (images,) positions in the dataset; fewer than all images if there are many. neighbors: (images, count)
    positions in the dataset. similarity: their cosines. places: (images, 2) on a map, from 0 to 1.
    """

    ids: NDArray[np.int32]
    neighbors: NDArray[np.int32]
    similarity: NDArray[np.float16]
    places: NDArray[np.float16]


def save_features(picture: Picture, features: NDArray[np.float16], file: Path | BinaryIO) -> None:
    """Write the features, and what a page shows of them. Not compressed, so that parts can be read."""
    np.savez(
        file,
        ids=picture.ids,
        neighbors=picture.neighbors,
        similarity=picture.similarity,
        places=picture.places,
        features=features.astype(np.float16),
    )


def load_picture(file: Path | BinaryIO) -> Picture:
    """Read the file of `save_features` without the features themselves."""
    with np.load(file) as arrays:
        return Picture(*(arrays[name] for name in ("ids", "neighbors", "similarity", "places")))


def load_features(file: Path | BinaryIO) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
    """Read the features of the file of `save_features`: positions in the dataset, and (images, features)."""
    with np.load(file) as arrays:
        return arrays["ids"], arrays["features"]
