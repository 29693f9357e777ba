"""Samples of splits as small images in [0, 1], and the features by which splits are compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.limits import MIB

SIDE = 32  # larger images are averaged down to about this
CELLS = 8
BYTES_AT_ONCE = 4 * MIB


@dataclass(frozen=True)
class Sample:
    """Some images of a split, reduced.

    rows, labels: (count,); units: (count,) the images' groups, or numbers of their own; images: (count, height, width,
    channels) in [0, 1].
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int32]
    units: NDArray[np.int64]
    images: NDArray[np.float32]


def take_sample(dataset: IngestedDataset, split: str, most: int) -> Sample:
    """Images of a split: all, or a random choice by a fixed seed."""
    rows = dataset.splits[split]
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    low, high = dataset.value_range
    parts = []
    step = max(1, BYTES_AT_ONCE // dataset.pixels.row_bytes)
    for first in range(0, len(rows), step):
        block = dataset.pixels.take(rows[first : first + step]).astype(np.float32)
        parts.append((_reduce(block) - low) / (high - low))
    # Groups are numbered from 0; images without a group must not be mistaken for them.
    units = -1 - rows if dataset.groups is None else dataset.groups[rows]
    return Sample(rows, dataset.labels[rows], units, np.concatenate(parts))


def compute_features(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The brightness of 8×8 cells a channel, (count, cells); and summaries: means, deviations, edges, fine detail."""
    count, height, width, _ = images.shape
    rows, columns = (np.arange(CELLS) * side // CELLS for side in (height, width))
    areas = np.outer(np.diff(np.append(rows, height)), np.diff(np.append(columns, width)))
    cells = np.add.reduceat(np.add.reduceat(images, rows, axis=1), columns, axis=2) / areas[None, :, :, None]
    middle = images[:, 1:-1, 1:-1]
    around = images[:, :-2, 1:-1] + images[:, 2:, 1:-1] + images[:, 1:-1, :-2] + images[:, 1:-1, 2:]
    summaries = [
        images.mean(axis=(1, 2)),
        images.std(axis=(1, 2)),
        *(np.abs(np.diff(images, axis=axis)).mean(axis=(1, 2, 3))[:, None] for axis in (1, 2)),
        np.abs(4 * middle - around).mean(axis=(1, 2, 3))[:, None],
    ]
    return cells.reshape(count, -1).astype(np.float32), np.concatenate(summaries, axis=1)


def standardize(parts: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Turn cells and summaries of several samples into points, (all images, features). Each kind has the same weight.

    Cells keep their relation to each other; summaries are of different kinds, so each has its own unit.
    """
    cells = np.concatenate([cells for cells, _ in parts])
    summaries = np.concatenate([summaries for _, summaries in parts])
    cells = (cells - cells.mean(axis=0)) / (cells.std(axis=0).mean() + 1e-6) / np.sqrt(cells.shape[1])
    summaries = (summaries - summaries.mean(axis=0)) / (summaries.std(axis=0) + 1e-6) / np.sqrt(summaries.shape[1])
    points: NDArray[np.float32] = np.concatenate([cells, summaries], axis=1).astype(np.float32)
    return points


def _reduce(block: NDArray[np.float32]) -> NDArray[np.float32]:
    found: Any = block
    for axis in (1, 2):
        step = found.shape[axis] // SIDE
        if step > 1:
            whole = found.shape[axis] // step * step
            starts = np.arange(0, whole, step)
            found = np.add.reduceat(found.take(np.arange(whole), axis=axis), starts, axis=axis) / step
    reduced: NDArray[np.float32] = found
    return reduced
