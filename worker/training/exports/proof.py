"""What a file is proven with: a job's own images, what the training has said of them, and the comparison."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import ImageSet
from analysis.arrays.job_splits import compute_job_splits
from analysis.arrays.relations import Relations
from heldout.spec.job import JobSpec
from heldout.stored.evaluation import SplitName

# The largest difference of two probabilities that is taken for rounding.
TOLERANCE = 1e-5
# One image, an odd number, and as many as a service would be sent: a model must not care.
BATCH_SIZES = (1, 7, 64)
# A file is proven with the first of these that a job has.
SPLITS: tuple[SplitName, ...] = ("test", "validation", "train")


class AnswersDiffer(Exception):
    """Another runtime gives other answers than the training's own predictions."""


@dataclass(frozen=True)
class ProofImages:
    """The images of one split of a job.

    pixels: all images of the dataset, (count, height, width, channels), as stored; may lie in their file.
    positions: (images,) int64, which of them are meant.
    file: the dataset's `images.npy`, for a process that reads them itself.
    """

    split: SplitName
    pixels: NDArray[Any]
    positions: NDArray[np.int64]
    file: Path

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """(batch, height, width, channels) float32, raw pixels; the sizes of the batches are in `batch_sizes`."""
        for part in cut_into_parts(len(self.positions)):
            yield np.asarray(self.pixels[self.positions[part]], np.float32)

    @property
    def batch_sizes(self) -> list[int]:
        return sorted({part.stop - part.start for part in cut_into_parts(len(self.positions))})


def cut_into_parts(count: int) -> list[slice]:
    """How `count` images are cut into batches: one of each size, then as many of the largest as it takes."""
    ends = [0]
    while ends[-1] < count:
        size = BATCH_SIZES[min(len(ends), len(BATCH_SIZES)) - 1]
        ends.append(min(count, ends[-1] + size))
    return [slice(*pair) for pair in pairwise(ends)]


@dataclass(frozen=True)
class StoredAnswers:
    """What was said of images of one split: positions in the dataset and (images, classes) probabilities."""

    split: SplitName
    positions: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def read_stored_answers(files: Sequence[Path]) -> StoredAnswers | None:
    """What `predictions.npz` says of one split; of several of them the mean, of images that all of them have.

    It is test, or validation where no job looked at test, or train where it had neither. With folds another member has
    the same images in another split. None without a file, and where no image is in all of them.
    """
    if not files:
        return None
    with np.load(files[0], allow_pickle=False) as arrays:
        split = next(name for name in SPLITS if f"{name}_indices" in arrays)
        positions, sums = arrays[f"{split}_indices"], arrays[f"{split}_probabilities"].astype(np.float64)
    for file in files[1:]:
        known, said = _read_answers_to_all(file)
        shared = np.isin(positions, known)
        positions = positions[shared]
        sums = sums[shared] + said[np.searchsorted(known, positions)]
    if not len(positions):
        return None
    return StoredAnswers(split, positions, (sums / len(files)).astype(np.float32))


def _read_answers_to_all(file: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The positions of all images in the file, ascending, and their (images, classes) probabilities."""
    with np.load(file, allow_pickle=False) as arrays:
        splits = [split for split in SPLITS if f"{split}_indices" in arrays]
        positions = np.concatenate([arrays[f"{split}_indices"] for split in splits])
        probabilities = np.concatenate([arrays[f"{split}_probabilities"] for split in splits])
    order = np.argsort(positions)
    return positions[order], probabilities[order]


def split_without_answers(
    images: ImageSet, spec: JobSpec, relations: Relations | None
) -> tuple[SplitName, NDArray[np.int64]]:
    """The split, and the positions of its images, that a job without predictions is proven with."""
    own = compute_job_splits(images.labels, images.splits, spec, relations)
    split = next(name for name in SPLITS if len(own[name]) and (name != "test" or spec.evaluation.test != "never"))
    return split, own[split]


@dataclass(frozen=True)
class AnswerComparison:
    """How far the answers to some images are from those that they should be."""

    differing_answers: int
    max_difference: float


def compare(said: NDArray[np.float32], expected: NDArray[np.float32]) -> AnswerComparison:
    """Compare (images, classes) probabilities with what they should be.

    Raises:
        ExportDiffers: if an image gets another most probable class, or a probability differs by more than `TOLERANCE`.
    """
    if said.shape != expected.shape:
        raise AnswersDiffer(f"It gives answers of the shape {said.shape}; expected {expected.shape}.")
    differing = int((said.argmax(axis=1) != expected.argmax(axis=1)).sum())
    largest = float(np.abs(said.astype(np.float64) - expected).max())
    if differing or not largest <= TOLERANCE:  # not a number is no agreement
        raise AnswersDiffer(
            f"Loaded again, it names another class for {differing:,} of {len(said):,} images, and probabilities differ "
            f"by up to {_format_decimal(largest)}; allowed are 0 images and {_format_decimal(TOLERANCE)}."
        )
    return AnswerComparison(differing, largest)


def _format_decimal(value: float) -> str:
    """Three digits, as people write them: `0.000014`, not `1.4e-05`."""
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")
