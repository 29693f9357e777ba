"""Decodes image files into rows of `images.npy`: each task is a batch, and its process writes the rows."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.ingest.archives.members import Archive, read_member
from worker.ingest.images.decode import TargetShape, decode
from worker.ingest.images.pixels import Pixels
from worker.ingest.limits import MIB, Limits
from worker.ingest.pool import ProcessPool, mark

BATCH_IMAGES = 256
BATCH_BYTES = 4 * MIB  # as packed, and as pixels


@dataclass(frozen=True)
class Batch:
    """Images that lie one after the other in `images.npy`, from row `first` on.

    Either `files` has their bytes, or `table` says where they lie in the archive at `archive`.
    """

    first: int
    names: Sequence[str]
    pixels: Pixels
    wanted: TargetShape
    limits: Limits
    any_grey: bool
    archive: str = ""
    table: NDArray[Any] | None = None
    files: Sequence[bytes] = ()


@dataclass(frozen=True)
class Target:
    """Where images go and what they become; the same for all batches of a dataset."""

    pixels: Pixels
    wanted: TargetShape
    limits: Limits
    any_grey: bool

    def batch(self, first: int, names: Sequence[str], **source: Any) -> Batch:
        return Batch(first, names, self.pixels, self.wanted, self.limits, self.any_grey, **source)


def decode_batch(batch: Batch) -> Counter[str]:
    """Write one batch; gives back how many images there were of each format and mode. Raises Rejection, ColourFound."""
    encodings: Counter[str] = Counter()
    rows = []
    for part, (name, data) in enumerate(zip(batch.names, _read(batch), strict=True)):
        mark(part)
        rows.append(decode(data, name, batch.wanted, batch.limits, encodings, any_grey=batch.any_grey))
    batch.pixels.write(batch.first, b"".join(rows))
    return encodings


def decode_all(pool: ProcessPool, batches: Iterable[Batch], progress: Callable[[int], None]) -> Counter[str]:
    """Decode all batches; `progress` hears how many images are done. Raises Rejection, ColourFound."""
    encodings: Counter[str] = Counter()
    for of_batch in pool.map(decode_batch, batches, names=lambda batch: batch.names):
        encodings.update(of_batch)
        progress(encodings.total())
    return encodings


def batches_of(archive: Archive, target: Target) -> Iterator[Batch]:
    """All members of an archive, in their order."""
    for first, end in _cuts(archive.table["packed"], target.pixels):
        yield target.batch(first, archive.names[first:end], archive=str(archive.path), table=archive.table[first:end])


def _cuts(packed: NDArray[Any], pixels: Pixels) -> Iterator[tuple[int, int]]:
    """First and last + 1 of each batch, so that neither files nor pixels of one batch take much memory."""
    most = max(1, min(BATCH_IMAGES, BATCH_BYTES // pixels.row_bytes))
    ends = np.cumsum(packed, dtype=np.uint64)
    first = 0
    while first < len(packed):
        before = ends[first - 1] if first else np.uint64(0)
        fitting = int(np.searchsorted(ends, before + np.uint64(BATCH_BYTES), side="right"))
        end = max(first + 1, min(fitting, first + most))
        yield first, end
        first = end


def _read(batch: Batch) -> Iterator[bytes]:
    if batch.table is None:
        yield from batch.files
        return
    file = os.open(batch.archive, os.O_RDONLY)
    try:
        for name, entry in zip(batch.names, batch.table.tolist(), strict=True):
            yield read_member(file, entry, name)
    finally:
        os.close(file)
