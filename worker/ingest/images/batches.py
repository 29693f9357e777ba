"""Decodes image files into rows of `images.npy`: each task is a batch, and its process writes the rows."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.ingest.images.decode import OpenedImage, OtherSize, TargetShape
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import mark
from worker.ingest.rejection import BROKEN_FILES, MIB, IngestLimits, Rejection

BATCH_IMAGES = 256
BATCH_BYTES = 4 * MIB  # as packed, and as pixels


@dataclass(frozen=True)
class Target:
    """Where and how images are written, which is the same for all batches of a dataset."""

    pixels: Pixels
    wanted: TargetShape
    limits: IngestLimits
    any_grey: bool


@dataclass(frozen=True)
class DecodeBatch:
    """Images that are consecutive in `images.npy`, starting at row `first`.

    read: returns the bytes of one of their files, counted from 0, or raises Rejection.
    """

    first: int
    names: Sequence[str]
    target: Target
    read: Callable[[int], bytes]


@dataclass(frozen=True)
class Decoded:
    """The results of decoding image files, by their rows.

    encodings: how many images there were of each format and mode. broken: files that are not images, and why.
    other_sizes: by (height, width), images that do not have the required size. shallow: images of 8 bits where 16 are
    wanted.
    """

    encodings: Counter[str] = field(default_factory=Counter)
    broken: dict[int, Rejection] = field(default_factory=dict)
    other_sizes: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    shallow: list[int] = field(default_factory=list)

    def add(self, other: "Decoded") -> None:
        self.encodings.update(other.encodings)
        self.broken.update(other.broken)
        for size, rows in other.other_sizes.items():
            self.other_sizes.setdefault(size, []).extend(rows)
        self.shallow.extend(other.shallow)


def decode_batch(batch: DecodeBatch) -> Decoded:
    """Write one batch. If a file is broken or has another size, its row is black. Raises Rejection, ColourFound."""
    found, target = Decoded(), batch.target
    rows = []
    black = bytes(target.pixels.row_bytes)
    for part, name in enumerate(batch.names):
        mark(part)
        row = batch.first + part
        try:
            image = OpenedImage(batch.read(part), name, target.limits)
            rows.append(image.decode(target.wanted, any_grey=target.any_grey))
            found.encodings[image.encoding] += 1
            if target.wanted.bits == 16 and not image.is_deep:
                found.shallow.append(row)
            del image  # before the next file is read, because it has all pixels
        except OtherSize as other:
            found.other_sizes.setdefault(other.size, []).append(row)
            rows.append(black)
        except Rejection as rejection:
            if rejection.code not in BROKEN_FILES:
                raise
            found.broken[row] = rejection
            rows.append(black)
    target.pixels.write(batch.first, b"".join(rows))
    return found


def count_in_batch(row_bytes: int) -> int:
    """Return how many images a batch may have if the pixels of each take this many bytes."""
    return max(1, min(BATCH_IMAGES, BATCH_BYTES // row_bytes))


def iterate_cuts(packed: NDArray[Any], row_bytes: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 of each batch, so that neither files nor pixels of one batch take much memory."""
    most, ends = count_in_batch(row_bytes), np.cumsum(packed, dtype=np.uint64)
    first = 0
    while first < len(packed):
        before = ends[first - 1] if first else np.uint64(0)
        fitting = int(np.searchsorted(ends, before + np.uint64(BATCH_BYTES), side="right"))
        end = max(first + 1, min(fitting, first + most))
        yield first, end
        first = end
