"""Signatures: a few numbers per image that hardly change when it is changed; and the nearest neighbors among them."""

from collections.abc import Iterator
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

COMPARED_SIDE = 40  # larger images are reduced until their sides are no longer
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
CELLS = 8  # a signature samples 8×8 cells
COLOUR_CELLS = 4
REACH = 1.8  # of the spread, to each side of the centre
CELL_WIDTH = 0.75  # of the distance between cells: the deviation of the bell that each one averages under
MIN_WEIGHT = 1e-3
AT_ONCE = 256  # images, so that what is computed of them stays in a core's cache


class Signatures(NamedTuple):
    """Summaries of images that are compared before their pixels are.

    even, odd: (images, values) float16, together of unit length; a mirrored image has the same `even`, and `odd` with
    the other sign. frames: (images, 4) float32, the position of the content. The columns are pixels down and right of
    the center, as compared, its spread, and how much of it touches the border (0: none, 1: as much as elsewhere).
    """

    even: NDArray[np.float16]
    odd: NDArray[np.float16]
    frames: Floats


def count_values(channels: int) -> int:
    """Return how many values `even` has for images with this many channels; `odd` has as many."""
    return CELLS**2 // 2 + (COLOUR_CELLS**2 if channels == 3 else 0)


def shrink(images: NDArray[np.generic]) -> Floats:
    """Reduce images (count, height, width, channels) to the size at which they are compared."""
    return reduce_images(images.astype(np.float32), choose_reduction(images.shape[1], images.shape[2]))


def choose_reduction(height: int, width: int) -> int:
    """Return how many pixels of such images are compared as one, in each direction."""
    return -(-max(height, width) // COMPARED_SIDE)


def reduce_images(images: Floats, factor: int) -> Floats:
    """Reduce images (count, height, width, …) to means of squares of `factor` pixels. Remaining pixels are left out."""
    count, height, width, *rest = images.shape
    height, width = height // factor, width // factor
    if factor == 1 or not height or not width:  # or a strip
        return images
    whole = images[:, : height * factor, : width * factor]
    found = np.zeros((count, height, width, *rest), np.float32)
    for down in range(factor):
        for right in range(factor):
            found += whole[:, down::factor, right::factor]
    found /= factor**2
    return found


def convert_to_gray(block: NDArray[np.generic]) -> Floats:
    """Convert images (count, height, width, channels) to (count, height, width) brightness."""
    floats: Any = block.astype(np.float32)
    return floats[..., 0] if floats.shape[3] == 1 else floats @ LUMA


def compute_signatures(images: NDArray[np.generic]) -> Signatures:
    """Compute the signatures of images (count, height, width, channels)."""
    parts = [_compute_signatures(images[first : first + AT_ONCE]) for first in range(0, len(images), AT_ONCE)]
    return Signatures(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _compute_signatures(images: NDArray[np.generic]) -> Signatures:
    small = shrink(images)
    brightness = convert_to_gray(small)
    border = np.concatenate([brightness[:, 0], brightness[:, -1], brightness[:, :, 0], brightness[:, :, -1]], axis=1)
    background = np.median(border, axis=1)[:, np.newaxis, np.newaxis]
    content = brightness - background
    frames = _find_frames(np.abs(content), np.abs(border - background[:, 0]).mean(axis=1))
    height, width = content.shape[1:]
    down = _make_cells(frames[:, 0], frames[:, 2], height)
    across = _make_cells(frames[:, 1], frames[:, 2], width).transpose(0, 2, 1)
    even, odd = _split_into_halves(down @ content @ across)
    even -= even.mean(axis=1, keepdims=True)
    parts = [(even, odd)]
    if small.shape[3] == 3:
        for channel in (0, 2):
            cells = down @ (small[..., channel] - brightness) @ across
            shape = (len(cells), COLOUR_CELLS, CELLS // COLOUR_CELLS, COLOUR_CELLS, CELLS // COLOUR_CELLS)
            parts.append(_split_into_halves(cells.reshape(shape).mean(axis=(2, 4))))
    even, odd = (np.concatenate(halves, axis=1) for halves in zip(*parts, strict=True))
    length = np.sqrt((even**2).sum(axis=1) + (odd**2).sum(axis=1))[:, np.newaxis]
    length = np.maximum(length, 1e-12)
    return Signatures((even / length).astype(np.float16), (odd / length).astype(np.float16), frames)


def _find_frames(content: Floats, at_border: Floats) -> Floats:
    height, width = content.shape[1:]
    rows, columns = content @ np.ones(width, np.float32), np.ones(height, np.float32) @ content
    total = np.maximum(rows.sum(axis=1), 1e-6)
    y, x = (np.arange(side, dtype=np.float32) - (side - 1) / 2 for side in (height, width))
    down, right = rows @ y / total, columns @ x / total
    variance = (rows @ y**2 + columns @ x**2) / total - down**2 - right**2
    spread = np.sqrt(np.maximum(variance / 2, 0.25))
    return np.stack([down, right, spread, at_border * (height * width) / total], axis=1).astype(np.float32)


def _make_cells(centre: Floats, spread: Floats, side: int) -> Floats:
    """Return (images, CELLS, side): the weight of each pixel of a side in each cell."""
    places = ((np.arange(CELLS, dtype=np.float32) + 0.5) / CELLS * 2 - 1) * REACH
    at = centre[:, np.newaxis] + spread[:, np.newaxis] * places + (side - 1) / 2
    width = spread * (2 * REACH / CELLS * CELL_WIDTH)
    distance = (np.arange(side, dtype=np.float32) - at[..., np.newaxis]) / width[:, np.newaxis, np.newaxis]
    weights: Floats = np.exp(np.float32(-0.5) * distance**2).astype(np.float32, copy=False)
    return weights / (weights.sum(axis=2, keepdims=True) + np.float32(MIN_WEIGHT))


def _split_into_halves(cells: Floats) -> tuple[Floats, Floats]:
    """Split cells into a part that stays and a part that changes its sign when mirrored; (images, values) each."""
    half = cells.shape[2] // 2
    left, right = (side.reshape(len(cells), -1) for side in (cells[:, :, :half], cells[:, :, ::-1][:, :, :half]))
    two = np.float32(2)
    return (left + right) / two, (left - right) / two


NEIGHBOURS = 3  # of each row
COMPARED_AT_ONCE = 2048  # so few rows are compared all with all
CELLS_OF_A_ROW = 2  # each row is compared within the cells of its nearest pivots
MAX_CELL_ROWS = 8192
BLOCK_ROWS = 128
SEED = 0


def find_near_pairs(vectors: Floats, min_alike: Floats) -> tuple[NDArray[np.int64], bool]:
    """Pair rows of unit length (rows, values) with those of their nearest neighbors that are similar enough.

    Args:
        min_alike: (rows,) the smallest product of two rows for each of them; the lower one of a pair counts.
    Returns:
        (pairs, 2), the earlier row first, in order; and whether a bound left some rows uncompared.
    """
    is_bounded = False
    found = [np.empty(0, np.int64)]
    for rows in _iterate_cells(vectors):
        is_bounded |= len(rows) > MAX_CELL_ROWS
        for first in range(0, len(rows), MAX_CELL_ROWS):
            found += _iterate_pairs_within(vectors, min_alike, rows[first : first + MAX_CELL_ROWS])
    keys = np.unique(np.concatenate(found))
    return np.stack(np.divmod(keys, len(vectors)), axis=1), is_bounded


def _iterate_cells(vectors: Floats) -> Iterator[NDArray[np.int64]]:
    """List rows that are compared with each other: those that share one of their nearest pivots."""
    count = len(vectors)
    if count <= COMPARED_AT_ONCE:
        yield np.arange(count)
        return
    pivots = vectors[np.random.default_rng(SEED).permutation(count)[: isqrt(count)]]
    cell_of = np.empty((count, CELLS_OF_A_ROW), np.int64)
    for first in range(0, count, COMPARED_AT_ONCE):
        alike = vectors[first : first + COMPARED_AT_ONCE] @ pivots.T
        for turn in range(CELLS_OF_A_ROW):
            cell_of[first : first + len(alike), turn] = nearest = alike.argmax(axis=1)
            alike[np.arange(len(alike)), nearest] = -np.inf
    order = np.argsort(cell_of.reshape(-1), kind="stable")
    ends = np.searchsorted(cell_of.reshape(-1)[order], np.arange(len(pivots)), side="right")
    yield from np.split(order // CELLS_OF_A_ROW, ends[:-1])


def _iterate_pairs_within(vectors: Floats, min_alike: Floats, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs of one cell, each as the number first × rows + second."""
    of_cell, least = vectors[rows], min_alike[rows]
    for first in range(0, len(rows), BLOCK_ROWS):
        block = np.arange(first, min(first + BLOCK_ROWS, len(rows)))
        alike = of_cell[block] @ of_cell.T
        own = np.arange(len(block))
        alike[own, block] = -np.inf
        for _ in range(min(NEIGHBOURS, len(rows) - 1)):
            nearest = alike.argmax(axis=1)
            near = alike[own, nearest] >= np.minimum(least[block], least[nearest])
            left, right = rows[block[near]], rows[nearest[near]]
            yield np.minimum(left, right) * len(vectors) + np.maximum(left, right)
            alike[own, nearest] = -np.inf
