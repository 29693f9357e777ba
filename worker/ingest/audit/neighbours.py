"""Nearest neighbors among the rows of a matrix, without comparing each row with every other."""

from collections.abc import Iterator
from math import isqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

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
    """Pairs of one cell, each as the number first × rows + second."""
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
