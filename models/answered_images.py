"""The images behind a cell of a confusion matrix, from a job's `predictions.npz`."""

import heapq
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from analysis.arrays.npy_rows import NpyRows
from heldout.stored.evaluation import SplitName
from models.blob_files import guard_reading, open_zipped
from models.blobs import Blobs
from models.digests import FileDigest

ROWS_AT_ONCE = 2000


@dataclass(frozen=True, order=True)
class AnsweredImage:
    """An image with the probability of its prediction. index: position in the dataset; member: its file name."""

    probability: float
    index: int
    member: str | None


def list_cell_images(
    blobs: Blobs,
    key: str,
    split: SplitName,
    label: int,
    answer: int,
    limit: int,
    expected: FileDigest | None = None,
) -> tuple[list[AnsweredImage], int]:
    """List the `limit` most confident images of a split with this label and this answer, and count all of them.

    Args:
        key: the predictions' key in the blob store.
        label, answer: positions of classes.
        expected: the digest of the stored file, if known.
    Raises:
        BlobMissing, ArtifactDamaged, StorageUnavailable.
    """
    most_confident: list[AnsweredImage] = []
    total = 0
    with guard_reading(key):
        for image in _iterate_matching(blobs, key, split, label, answer, expected):
            total += 1
            if len(most_confident) < limit:
                heapq.heappush(most_confident, image)
            else:
                heapq.heappushpop(most_confident, image)
    return sorted(most_confident, reverse=True), total


def _iterate_matching(
    blobs: Blobs, key: str, split: str, label: int, answer: int, expected: FileDigest | None
) -> Iterator[AnsweredImage]:
    with ExitStack() as stack:
        members = set(stack.enter_context(open_zipped(blobs, key, expected)).namelist())
        if f"{split}_indices.npy" not in members:
            return

        def iterate_blocks(what: str) -> Iterator[NDArray[Any]]:
            archive = stack.enter_context(open_zipped(blobs, key))
            return NpyRows(stack.enter_context(archive.open(f"{split}_{what}.npy"))).blocks(ROWS_AT_ONCE)

        files = iterate_blocks("files") if f"{split}_files.npy" in members else None
        for indices, labels, probabilities in zip(
            iterate_blocks("indices"), iterate_blocks("labels"), iterate_blocks("probabilities"), strict=True
        ):
            names = None if files is None else next(files)
            for row in ((labels == label) & (probabilities.argmax(axis=1) == answer)).nonzero()[0].tolist():
                member = None if names is None else str(names[row]) or None
                yield AnsweredImage(float(probabilities[row, answer]), int(indices[row]), member)
