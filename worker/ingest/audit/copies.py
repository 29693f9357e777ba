"""Images that are copies of each other: exact ones by digest; near ones proposed by hash and confirmed by pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.ingest.audit.scan import Scan
from worker.ingest.images.pixels import Pixels

# A copy that was encoded again, brightened or resized keeps its hash but for a few of the 64 bits.
MAX_HASH_DISTANCE_BITS = 4
HASH_BANDS = 4  # pairs that agree in one quarter of the bits are compared
# The low frequencies of a copy point the same way; checked before any pixel is read.
MIN_LOW_FREQUENCY_CORRELATION = 0.98
# And its pixels, at unit contrast, correlate and differ nowhere by much of the contrast. Measured on mnist5k's 12.5
# million pairs: distinct digits correlate by 0.981 at most and differ by at least 0.31; at quality 75, JPEG keeps 99 %
# of its copies above 0.995 and below 0.18.
MIN_PIXEL_CORRELATION = 0.99
MAX_PIXEL_DIFFERENCE = 0.25
COMPARED_SIDE = 32  # larger images are compared at this size
MIN_CONTRAST = 0.02  # of the value range: less contrast is not compared
# Bounds for sets in which everything looks alike: pairs whose hashes, whose low frequencies, whose pixels are compared.
MAX_HASH_PAIRS = 20_000_000
MAX_LOW_FREQUENCY_PAIRS = 2_000_000
MAX_PIXEL_PAIRS = 200_000
MAX_NEIGHBOURS = 256  # that an image is compared with where more share a band


@dataclass(frozen=True)
class Copies:
    """Which images are copies of each other.

    original: (images,) the first image with the same pixels, which is the image itself where there is none before it.
    near: (pairs, 2) originals that are near copies of each other, the earlier first. is_bounded: whether so many
    images look alike that not all of them were compared.
    """

    original: NDArray[np.int64]
    near: NDArray[np.int64]
    is_bounded: bool


def find_copies(pixels: Pixels, scan: Scan, value_range: tuple[float, float]) -> Copies:
    """Exact and near copies among all images; images without contrast are left out."""
    contrast = scan.high - scan.low
    is_picture = contrast > MIN_CONTRAST * (value_range[1] - value_range[0])
    original = _originals(pixels, scan.digests, is_picture)
    unique = np.flatnonzero((original == np.arange(len(original))) & is_picture)
    proposals, is_bounded = _proposals(scan, unique)
    is_bounded |= len(proposals) > MAX_PIXEL_PAIRS
    at_once = pixels.rows_in_block
    proposals = proposals[:MAX_PIXEL_PAIRS]
    confirmed = [
        are_copies(pixels.take(chunk[:, 0]), pixels.take(chunk[:, 1])) for chunk in _chunks(proposals, at_once)
    ]
    return Copies(original, proposals[np.concatenate([*confirmed, np.empty(0, bool)])], is_bounded)


def are_copies(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(pairs,) whether two images (pairs, height, width, channels) are one picture but for encoding or brightness."""
    a, b = _unit(one), _unit(other)
    alike = np.einsum("pi,pi->p", a, b)
    span = np.minimum(np.ptp(a, axis=1), np.ptp(b, axis=1))
    difference = np.abs(a - b).max(axis=1)
    found: NDArray[np.bool_] = (alike >= MIN_PIXEL_CORRELATION) & (difference <= MAX_PIXEL_DIFFERENCE * span)
    return found


def _originals(pixels: Pixels, digests: NDArray[np.uint64], is_picture: NDArray[np.bool_]) -> NDArray[np.int64]:
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    original = first[which].astype(np.int64)
    later = np.flatnonzero((original != np.arange(len(original))) & is_picture)
    for chunk in _chunks(later, pixels.rows_in_block):
        same = (pixels.take(chunk) == pixels.take(original[chunk])).reshape(len(chunk), -1).all(axis=1)
        original[chunk[~same]] = chunk[~same]  # digests may collide, pixels do not
    return np.where(is_picture, original, np.arange(len(original)))


def _proposals(scan: Scan, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
    """(pairs, 2) of `rows` whose hashes and low frequencies are alike, in order; and whether a bound left some out."""
    keys, is_bounded, compared, near = [np.empty(0, np.int64)], False, 0, 0
    count = len(scan.hashes)
    for band in range(HASH_BANDS):
        shared = (scan.hashes[rows] >> np.uint64(16 * band)).astype(np.uint16)
        order = np.lexsort((scan.hashes[rows], shared))
        ordered, sorted_rows = shared[order], rows[order]
        for step in range(1, MAX_NEIGHBOURS + 2):
            left = np.flatnonzero(ordered[step:] == ordered[:-step])
            compared += len(left)
            if step > MAX_NEIGHBOURS or compared > MAX_HASH_PAIRS or near > MAX_LOW_FREQUENCY_PAIRS:
                is_bounded |= len(left) > 0
                break
            one, other = sorted_rows[left], sorted_rows[left + step]
            is_near = np.bitwise_count(scan.hashes[one] ^ scan.hashes[other]) <= MAX_HASH_DISTANCE_BITS
            pairs = np.sort(np.stack([one[is_near], other[is_near]], axis=1), axis=1)
            near += len(pairs)
            for chunk in _chunks(pairs, 50_000):
                alike = chunk[_alike(scan.signatures, chunk) >= MIN_LOW_FREQUENCY_CORRELATION]
                keys.append(alike[:, 0] * count + alike[:, 1])
            if not len(left):
                break
    found = np.unique(np.concatenate(keys))
    return np.stack(np.divmod(found, count), axis=1), is_bounded


def _chunks(values: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(values), size):
        yield values[first : first + size]


def _alike(signatures: NDArray[np.float16], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    one, other = (signatures[pairs[:, side]].astype(np.float32) for side in (0, 1))
    found: NDArray[np.float32] = np.einsum("pi,pi->p", one, other)
    return found


def _unit(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """(count, values): images without their mean and at unit length, no larger than they are compared at."""
    floats: Any = images.astype(np.float32)
    for axis in (1, 2):
        side = floats.shape[axis]
        if side > COMPARED_SIDE:
            starts = np.arange(COMPARED_SIDE) * side // COMPARED_SIDE
            sizes = np.diff(np.append(starts, side)).astype(np.float32)
            shape = [1, 1, 1, 1]
            shape[axis] = COMPARED_SIDE
            floats = np.add.reduceat(floats, starts, axis=axis) / sizes.reshape(shape)
    flat: NDArray[np.float32] = floats.reshape(len(floats), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    return flat
