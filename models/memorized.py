"""The training images that were hardest to learn, from a job's `predictions.npz`."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.npy_rows import NpyRows
from models.answered_images import ROWS_AT_ONCE
from models.blob_files import guard_reading, open_zipped
from models.blobs import Blobs
from models.digests import FileDigest


@dataclass(frozen=True)
class HardImage:
    """An image. index: position in the dataset; label, answer: positions of classes; loss_sum: in nats, all epochs."""

    index: int
    member: str | None
    label: int
    answer: int
    loss_sum: float


@dataclass(frozen=True)
class HardImages:
    """Training images with the largest sums of losses first. count: the number of images to choose from."""

    images: list[HardImage]
    count: int
    epochs: int


def list_hardest_images(
    blobs: Blobs, key: str, label: int | None, after: int, limit: int, expected: FileDigest | None = None
) -> HardImages | None:
    """List `limit` training images after the first `after`, with the largest sums of losses first.

    Args:
        key: the predictions' key in the blob store.
        label: position of the wanted class. None for all classes.
        expected: the digest of the stored file, if known.
    Returns:
        None if the job recorded no sums.
    Raises:
        BlobMissing, ArtifactDamaged, StorageUnavailable.
    """
    with guard_reading(key), ExitStack() as stack:
        members = set(stack.enter_context(open_zipped(blobs, key, expected)).namelist())
        if "train_loss_sums.npy" not in members:
            return None

        def iterate_blocks(what: str) -> Iterator[NDArray[Any]]:
            # Each array opens the archive separately, so that each has its own read-ahead.
            archive = stack.enter_context(open_zipped(blobs, key))
            return NpyRows(stack.enter_context(archive.open(f"train_{what}.npy"))).blocks(ROWS_AT_ONCE)

        def read_whole(what: str) -> NDArray[Any]:
            return np.concatenate(list(iterate_blocks(what)))

        with open_zipped(blobs, key) as archive, archive.open("train_loss_epochs.npy") as file:
            epochs = int(np.lib.format.read_array(file, allow_pickle=False))
        sums, labels, indices = read_whole("loss_sums"), read_whole("labels"), read_whole("indices")
        rows = np.arange(len(sums)) if label is None else np.flatnonzero(labels == label)
        wanted = rows[np.argsort(-sums[rows], kind="stable")][after : after + limit]
        answers = _read_values_at(wanted, (block.argmax(axis=1) for block in iterate_blocks("probabilities")))
        names = _read_values_at(wanted, iterate_blocks("files")) if "train_files.npy" in members else {}
        images = [
            HardImage(int(indices[row]), names.get(row) or None, int(labels[row]), answers[row], float(sums[row]))
            for row in wanted.tolist()
        ]
        return HardImages(images, len(rows), epochs)


def _read_values_at(rows: NDArray[np.int64], blocks: Iterator[NDArray[Any]]) -> dict[int, Any]:
    """Read the values of some rows from an array that arrives in blocks. Stops after the last wanted row."""
    found: dict[int, Any] = {}
    first = 0
    while len(found) < len(rows):
        block = next(blocks)
        for row in rows[(rows >= first) & (rows < first + len(block))].tolist():
            found[row] = block[row - first].item()
        first += len(block)
    return found
