"""One pass over all images: digest, signature and extremes of each, and histograms of each split."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.signatures import Signatures, compute_signatures, join_signatures
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool

BINS = 256
SAMPLED_SIDE = 64  # histograms use at most this many rows and columns of an image


@dataclass(frozen=True)
class Scan:
    """The results of one pass over the images.

    digests: (images,) uint64, equal where pixels are. signatures: near where images look alike. low, high: (images,)
    extremes.
    histograms: (splits, channels, BINS) counts of values over the value range. is_coloured: whether channels differ.
    """

    digests: NDArray[np.uint64]
    signatures: Signatures
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    histograms: NDArray[np.int64]
    is_coloured: bool


@dataclass(frozen=True)
class _ScanPart:
    pixels: Pixels
    first: int
    split_of: NDArray[np.int8]
    value_range: tuple[float, float]

    def read(self) -> NDArray[Any]:
        return self.pixels.read(self.first, len(self.split_of))


def scan(dataset: IngestedDataset, pool: ProcessPool) -> Scan:
    """Scan all images, a few megabytes at a time."""
    found = list(pool.map(scan_part, _cut_into_parts(dataset), names=lambda part: [f"images from {part.first} on"]))
    return Scan(
        digests=np.concatenate([part.digests for part in found]),
        signatures=join_signatures([part.signatures for part in found]),
        low=np.concatenate([part.low for part in found]),
        high=np.concatenate([part.high for part in found]),
        histograms=np.sum([part.histograms for part in found], axis=0),
        is_coloured=any(part.is_coloured for part in found),
    )


def replace_splits(seen: Scan, dataset: IngestedDataset) -> Scan:
    """Adapt the scan of a dataset whose images have since moved between splits."""
    found = [_count_histograms(part.read(), part) for part in _cut_into_parts(dataset)]
    return replace(seen, histograms=np.sum(found, axis=0))


def _cut_into_parts(dataset: IngestedDataset) -> Iterator[_ScanPart]:
    pixels, step = dataset.pixels, dataset.pixels.rows_in_block
    for first in range(0, pixels.count, step):
        yield _ScanPart(pixels, first, dataset.split_of[first : first + step], dataset.value_range)


def _count_histograms(block: NDArray[Any], part: _ScanPart) -> NDArray[np.int64]:
    """(splits, channels, BINS) of the images of one part."""
    _, height, width, channels = block.shape
    rows, columns = (-(-side // SAMPLED_SIDE) for side in (height, width))
    sampled = _sort_into_bins(block[:, ::rows, ::columns], part.value_range)
    histograms = np.zeros((len(SPLITS), channels, BINS), np.int64)
    for code in np.unique(part.split_of).tolist():
        of_split = sampled[part.split_of == code]
        for channel in range(channels):
            histograms[code, channel] = np.bincount(of_split[..., channel].reshape(-1), minlength=BINS)
    return histograms


def scan_part(part: _ScanPart) -> Scan:
    """Scan the images of one part."""
    block = part.read()
    count, channels = block.shape[0], block.shape[3]
    flat = block.reshape(count, -1)
    return Scan(
        digests=np.array([_compute_digest(row.data) for row in flat], np.uint64),
        signatures=compute_signatures(block),
        low=flat.min(axis=1).astype(np.float32),
        high=flat.max(axis=1).astype(np.float32),
        histograms=_count_histograms(block, part),
        is_coloured=channels == 3 and bool(np.any(block[..., :2] != block[..., 1:])),
    )


def _compute_digest(row: memoryview) -> int:
    return int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "little")


def _sort_into_bins(block: NDArray[np.generic], value_range: tuple[float, float]) -> NDArray[np.generic]:
    low, high = value_range
    if block.dtype == np.uint8 and high == BINS - 1:
        return block
    scaled = (block.astype(np.float32) - low) * (BINS / (high - low))
    return scaled.clip(0, BINS - 1).astype(np.uint8)
