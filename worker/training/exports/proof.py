"""Checks an exported file against the training's answers to the job's own images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import ImageSet
from analysis.arrays.folds import compute_job_splits
from analysis.arrays.relations import Relations
from heldout.lifecycle.job import FailureCode
from heldout.spec.job import JobSpec
from heldout.stored.evaluation import SplitName

# The largest difference of two probabilities that counts as rounding.
TOLERANCE = 1e-5
# One image, an odd number, and as many as a service would get: the batch size must not matter.
BATCH_SIZES = (1, 7, 64)
# A file is checked with the first of these that a job has.
SPLITS: tuple[SplitName, ...] = ("test", "validation", "train")


class NotExported(Exception):
    """The worker cannot write the format, or another runtime gives other answers than the training's predictions."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True)
class ProofImages:
    """The images of one split of a job.

    pixels: all images of the dataset, (count, height, width, channels), as stored; may stay in their file.
    positions: (images,) int64, the images of the split.
    file: the dataset's `images.npy`, for a process that reads them itself.
    """

    split: SplitName
    pixels: NDArray[Any]
    positions: NDArray[np.int64]
    file: Path

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """Yield (batch, height, width, channels) float32 raw pixels, in batches of `batch_sizes`."""
        for part in cut_into_parts(len(self.positions)):
            yield np.asarray(self.pixels[self.positions[part]], np.float32)

    @property
    def batch_sizes(self) -> list[int]:
        return sorted({part.stop - part.start for part in cut_into_parts(len(self.positions))})


def cut_into_parts(count: int) -> list[slice]:
    """Divide `count` images into batches: one of each size, then as many of the largest as needed."""
    ends = [0]
    while ends[-1] < count:
        size = BATCH_SIZES[min(len(ends), len(BATCH_SIZES)) - 1]
        ends.append(min(count, ends[-1] + size))
    return [slice(*pair) for pair in pairwise(ends)]


def read_stored_answers(files: Sequence[Path]) -> tuple[SplitName, NDArray[np.int64], NDArray[np.float32]] | None:
    """Read the answers to one split from `predictions.npz`; from several files, the mean for images that all have.

    Returns the split, the positions of its images in the dataset, and (images, classes) probabilities.

    The split is test, validation if no job looked at test, or train if there is neither. With folds, other members have
    the same images in another split. None without a file, or if no image is in all of them.
    """
    if not files:
        return None
    with np.load(files[0], allow_pickle=False) as arrays:
        split = next(name for name in SPLITS if f"{name}_indices" in arrays)
        positions, sums = arrays[f"{split}_indices"], arrays[f"{split}_probabilities"].astype(np.float64)
    for file in files[1:]:
        known, sums_of_all = _read_answers_to_all(file)
        shared = np.isin(positions, known)
        positions = positions[shared]
        sums = sums[shared] + sums_of_all[np.searchsorted(known, positions)]
    if not len(positions):
        return None
    return split, positions, (sums / len(files)).astype(np.float32)


def _read_answers_to_all(file: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the positions of all images in the file, ascending, and their (images, classes) probabilities."""
    with np.load(file, allow_pickle=False) as arrays:
        splits = [split for split in SPLITS if f"{split}_indices" in arrays]
        positions = np.concatenate([arrays[f"{split}_indices"] for split in splits])
        probabilities = np.concatenate([arrays[f"{split}_probabilities"] for split in splits])
    order = np.argsort(positions)
    return positions[order], probabilities[order]


def split_without_answers(
    images: ImageSet, spec: JobSpec, relations: Relations | None
) -> tuple[SplitName, NDArray[np.int64]]:
    """Return the split, and the positions of its images, with which a job without predictions is checked."""
    own = compute_job_splits(images.labels, images.splits, spec, relations)
    split = next(name for name in SPLITS if len(own[name]) and (name != "test" or spec.evaluation.test != "never"))
    return split, own[split]


def compare(answers: NDArray[np.float32], expected: NDArray[np.float32]) -> tuple[int, float]:
    """Return how many answers differ between (images, classes) probabilities, and the largest difference.

    Raises:
        NotExported: if an image gets another most probable class, or a probability differs by more than `TOLERANCE`.
    """
    if answers.shape != expected.shape:
        detail = f"It gives answers of the shape {answers.shape}; expected {expected.shape}."
        raise NotExported(FailureCode.EXPORT_DIFFERS, detail)
    differing = int((answers.argmax(axis=1) != expected.argmax(axis=1)).sum())
    largest = float(np.abs(answers.astype(np.float64) - expected).max())
    if differing or not largest <= TOLERANCE:  # NaN never agrees
        raise NotExported(
            FailureCode.EXPORT_DIFFERS,
            f"Loaded again, it names another class for {differing:,} of {len(answers):,} images, and probabilities "
            f"differ by up to {_format_decimal(largest)}; allowed are 0 images and {_format_decimal(TOLERANCE)}.",
        )
    return differing, largest


def _format_decimal(value: float) -> str:
    """Format with three significant digits, without an exponent: `0.000014`, not `1.4e-05`."""
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")
