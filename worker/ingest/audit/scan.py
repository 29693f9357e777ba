"""One pass over all images: digest, perceptual hash and extremes of each, and histograms of each split."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.arrays import SPLITS
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool

BINS = 256
HASH_SIDE = 8  # a hash has 8×8 bits
DCT_SIDE = 32
SAMPLED_SIDE = 64  # histograms take at most so many rows and columns of an image
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Scan:
    """What one pass over the images finds.

    digests: (images,) uint64, equal where pixels are. hashes: (images,) uint64, near in bits where images look alike.
    signatures: (images, 63) float16, the low frequencies of each image at unit length. low, high: (images,) extremes.
    histograms: (splits, channels, BINS) counts of values over the value range. is_coloured: whether channels differ.
    """

    digests: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    signatures: NDArray[np.float16]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    histograms: NDArray[np.int64]
    is_coloured: bool


@dataclass(frozen=True)
class _Part:
    pixels: Pixels
    first: int
    split_of: NDArray[np.int8]
    value_range: tuple[float, float]


def scan(dataset: IngestedDataset, pool: ProcessPool, progress: Callable[[int], None]) -> Scan:
    """Scan all images, a few megabytes at a time."""
    pixels, step = dataset.pixels, dataset.pixels.rows_in_block
    parts = (
        _Part(pixels, first, dataset.split_of[first : first + step], dataset.value_range)
        for first in range(0, pixels.count, step)
    )
    count = pixels.count
    found = Scan(
        digests=np.empty(count, np.uint64),
        hashes=np.empty(count, np.uint64),
        signatures=np.empty((count, HASH_SIDE**2 - 1), np.float16),
        low=np.empty(count, np.float32),
        high=np.empty(count, np.float32),
        histograms=np.zeros((len(SPLITS), pixels.shape[3], BINS), np.int64),
        is_coloured=False,
    )
    is_coloured = False
    first = 0
    for part in pool.map(scan_part, parts, names=lambda part: [f"images from {part.first} on"]):
        rows = slice(first, first + len(part.hashes))
        for name in ("digests", "hashes", "signatures", "low", "high"):
            getattr(found, name)[rows] = getattr(part, name)
        found.histograms[:] += part.histograms
        is_coloured |= part.is_coloured
        first = rows.stop
        progress(first)
    return Scan(**{**found.__dict__, "is_coloured": is_coloured})


def with_splits_of(seen: Scan, dataset: IngestedDataset) -> Scan:
    """What was seen of a dataset whose images have moved between splits since."""
    pixels, step = dataset.pixels, dataset.pixels.rows_in_block
    histograms = np.zeros_like(seen.histograms)
    for first in range(0, pixels.count, step):
        part = _Part(pixels, first, dataset.split_of[first : first + step], dataset.value_range)
        histograms += _histograms(pixels.read(first, len(part.split_of)), part)
    return replace(seen, histograms=histograms)


def _histograms(block: NDArray[Any], part: _Part) -> NDArray[np.int64]:
    """(splits, channels, BINS) of the images of one part."""
    _, height, width, channels = block.shape
    rows, columns = (-(-side // SAMPLED_SIDE) for side in (height, width))
    sampled = _binned(block[:, ::rows, ::columns], part.value_range)
    histograms = np.zeros((len(SPLITS), channels, BINS), np.int64)
    for code in np.unique(part.split_of).tolist():
        of_split = sampled[part.split_of == code]
        for channel in range(channels):
            histograms[code, channel] = np.bincount(of_split[..., channel].reshape(-1), minlength=BINS)
    return histograms


def scan_part(part: _Part) -> Scan:
    """Scan the images of one part."""
    block = part.pixels.read(part.first, len(part.split_of))
    count, channels = block.shape[0], block.shape[3]
    flat = block.reshape(count, -1)
    coefficients = low_frequencies(grey(block))
    ac = coefficients.reshape(count, -1)[:, 1:]
    length = np.linalg.norm(ac, axis=1, keepdims=True)
    return Scan(
        digests=np.array([_digest(row.data) for row in flat], np.uint64),
        hashes=hashes_of(coefficients),
        signatures=(ac / np.maximum(length, 1e-12)).astype(np.float16),
        low=flat.min(axis=1).astype(np.float32),
        high=flat.max(axis=1).astype(np.float32),
        histograms=_histograms(block, part),
        is_coloured=channels == 3 and bool(np.any(block[..., :2] != block[..., 1:])),
    )


def grey(block: NDArray[np.generic]) -> NDArray[np.float32]:
    """(count, height, width) brightness of images (count, height, width, channels)."""
    floats: Any = block.astype(np.float32)
    found: NDArray[np.float32] = floats[..., 0] if floats.shape[3] == 1 else floats @ LUMA
    return found


def low_frequencies(brightness: NDArray[np.float32]) -> NDArray[np.float32]:
    """(count, 8, 8): the low part of the cosine transform of images (count, height, width) brought to 32×32."""
    _, height, width = brightness.shape
    rows: Any = _operator(height)
    found: NDArray[np.float32] = rows @ brightness @ _operator(width).T
    return found


def hashes_of(coefficients: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Which coefficients are above their median, as the perceptual hash of `imagehash.phash` has them; 64 bits each."""
    flat = coefficients.reshape(len(coefficients), -1)
    bits = flat > np.median(flat, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


@lru_cache
def _operator(side: int) -> NDArray[np.float32]:
    """(8, side): Pillow's Lanczos reduction of a side to 32 pixels, and then the 8 lowest cosines."""
    unit = Image.fromarray(np.eye(side, dtype=np.float32))
    reduction: Any = np.asarray(unit.resize((DCT_SIDE, side), Image.Resampling.LANCZOS)).T
    frequency, place = np.mgrid[:HASH_SIDE, :DCT_SIDE]
    cosines = 2 * np.cos(np.pi * frequency * (2 * place + 1) / (2 * DCT_SIDE))
    operator: NDArray[np.float32] = (cosines @ reduction).astype(np.float32)
    return operator


def _digest(row: memoryview) -> int:
    return int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "little")


def _binned(block: NDArray[np.generic], value_range: tuple[float, float]) -> NDArray[np.generic]:
    low, high = value_range
    if block.dtype == np.uint8 and high == BINS - 1:
        return block
    scaled = (block.astype(np.float32) - low) * (BINS / (high - low))
    return scaled.clip(0, BINS - 1).astype(np.uint8)
