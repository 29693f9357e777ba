"""One pass over all images: digest, signature and extremes of each, and histograms of each split."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.signatures import Signatures, compute_signatures, count_values
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool

BINS = 256
SAMPLED_SIDE = 64  # histograms use at most this many rows and columns of an image


@dataclass(frozen=True)
class Scan:
    """The results of one pass over the images.

    images: (images,) with the fields `digest`, equal where pixels are, the extremes `low` and `high`, and those of
    `Signatures`. histograms: (splits, channels, BINS) counts of values over the value range. is_coloured: whether
    channels differ.
    """

    images: NDArray[np.void]
    histograms: NDArray[np.int64]
    is_coloured: bool

    @property
    def signatures(self) -> Signatures:
        """Near where images look alike."""
        return Signatures(*(self.images[name] for name in Signatures._fields))


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
    count, channels = dataset.pixels.count, dataset.pixels.shape[3]
    # Filled part by part, because all parts together would take as much memory again.
    images = np.empty(count, _make_image_dtype(channels))
    histograms, is_coloured, first = np.zeros((len(SPLITS), channels, BINS), np.int64), False, 0
    for part in pool.map(scan_part, _cut_into_parts(dataset), names=lambda part: [f"images from {part.first} on"]):
        images[first : first + len(part.images)] = part.images
        histograms += part.histograms
        is_coloured |= part.is_coloured
        first += len(part.images)
    return Scan(images, histograms, is_coloured)


def _make_image_dtype(channels: int) -> np.dtype[np.void]:
    half = (np.float16, count_values(channels))
    fields = [("digest", np.uint64), ("low", np.float32), ("high", np.float32), ("frames", np.float32, 4)]
    return np.dtype([*fields, ("even", *half), ("odd", *half)])


def replace_splits(seen: Scan, dataset: IngestedDataset) -> Scan:
    """Adapt the scan of a dataset whose images have since moved between splits."""
    histograms = np.zeros_like(seen.histograms)
    for part in _cut_into_parts(dataset):
        histograms += _count_histograms(part.read(), part)
    return replace(seen, histograms=histograms)


def _cut_into_parts(dataset: IngestedDataset) -> Iterator[_ScanPart]:
    pixels, step = dataset.pixels, dataset.pixels.rows_in_block
    for first in range(0, pixels.count, step):
        yield _ScanPart(pixels, first, dataset.split_of[first : first + step], dataset.value_range)


def _count_histograms(block: NDArray[Any], part: _ScanPart) -> NDArray[np.int64]:
    """Count (splits, channels, BINS) pixels of the images of one part."""
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
    flat, images = block.reshape(count, -1), np.empty(count, _make_image_dtype(channels))
    images["digest"] = [_compute_digest(row.data) for row in flat]
    images["low"], images["high"] = flat.min(axis=1), flat.max(axis=1)
    for name, values in compute_signatures(block)._asdict().items():
        images[name] = values
    is_coloured = channels == 3 and bool(np.any(block[..., :2] != block[..., 1:]))
    return Scan(images, _count_histograms(block, part), is_coloured)


def _compute_digest(row: memoryview) -> int:
    return int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "little")


def _sort_into_bins(block: NDArray[np.generic], value_range: tuple[float, float]) -> NDArray[np.generic]:
    low, high = value_range
    if block.dtype == np.uint8 and high == BINS - 1:
        return block
    scaled = (block.astype(np.float32) - low) * (BINS / (high - low))
    return scaled.clip(0, BINS - 1).astype(np.uint8)
