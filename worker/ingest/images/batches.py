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
from worker.ingest.rejection import BROKEN_FILES, Rejection

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


@dataclass(frozen=True)
class Decoded:
    """How many images there were of each format and mode; `broken` has the row of each file that is none, and why."""

    encodings: Counter[str]
    broken: dict[int, Rejection]


def decode_batch(batch: Batch) -> Decoded:
    """Write one batch; where a file is broken its row is black. Raises Rejection, ColourFound."""
    found = Decoded(Counter(), {})
    rows = []
    for part, (name, data) in enumerate(zip(batch.names, _read(batch), strict=True)):
        mark(part)
        try:
            rows.append(decode(data, name, batch.wanted, batch.limits, found.encodings, any_grey=batch.any_grey))
        except Rejection as rejection:
            if rejection.code not in BROKEN_FILES:
                raise
            found.broken[batch.first + part] = rejection
            rows.append(bytes(batch.pixels.row_bytes))
    batch.pixels.write(batch.first, b"".join(rows))
    return found


def decode_all(pool: ProcessPool, batches: Iterable[Batch], progress: Callable[[int], None]) -> Decoded:
    """Decode all batches; `progress` hears how many images are done. Raises Rejection, ColourFound."""
    found = Decoded(Counter(), {})
    for of_batch in pool.map(decode_batch, batches, names=lambda batch: batch.names):
        found.encodings.update(of_batch.encodings)
        found.broken.update(of_batch.broken)
        progress(found.encodings.total() + len(found.broken))
    return found


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
