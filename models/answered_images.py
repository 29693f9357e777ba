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
    """An image with the probability of the answer; index: its position in the dataset; member: its file's name."""

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
    """The `limit` images of a split with this label and this answer that are the surest, and how many there are.

    Args:
        key: of the predictions in the blob store.
        label, answer: positions of classes.
        expected: what was stored, where that is known.
    Raises:
        BlobMissing, ArtifactDamaged, StorageUnavailable.
    """
    surest: list[AnsweredImage] = []
    total = 0
    with guard_reading(key):
        for image in _iterate_matching(blobs, key, split, label, answer, expected):
            total += 1
            if len(surest) < limit:
                heapq.heappush(surest, image)
            else:
                heapq.heappushpop(surest, image)
    return sorted(surest, reverse=True), total


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
        for indices, labels, said in zip(
            iterate_blocks("indices"), iterate_blocks("labels"), iterate_blocks("probabilities"), strict=True
        ):
            names = None if files is None else next(files)
            for row in ((labels == label) & (said.argmax(axis=1) == answer)).nonzero()[0].tolist():
                member = None if names is None else str(names[row]) or None
                yield AnsweredImage(float(said[row, answer]), int(indices[row]), member)
