"""Which images each network of the search is trained without. Pure."""

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.job_splits import stratified


def make_folds(
    labels: NDArray[np.int32], units: NDArray[np.int32], count: int, draws: np.random.Generator
) -> NDArray[np.int32]:
    """(images,) the fold of each image, 0 to `count` - 1; a unit of images that belong together is never parted.

    Units go where their class, that of their first image, has the fewest images so far, then where all classes have.

    Args:
        labels: (images,) positions of classes.
        units: (images,) a number for each unit, such as the position of its first image.
    """
    _, first, unit_of, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    order = draws.permutation(len(first))
    order = order[np.argsort(-sizes[order], kind="stable")]  # the large ones while there is room everywhere
    filled = np.zeros((int(np.max(labels)) + 1, count), np.int64)
    fold_of_unit = np.empty(len(first), np.int32)
    for unit in order:
        of_class = filled[labels[first[unit]]]
        fold = np.lexsort((filled.sum(axis=0), of_class))[0]
        fold_of_unit[unit] = fold
        of_class[fold] += sizes[unit]
    return fold_of_unit[unit_of]


def training_rows(labels: NDArray[np.int32], may_be_used: NDArray[np.bool_], limit: int) -> NDArray[np.int32]:
    """The images that a network is trained on: those that may be used, each class with its share of `limit`."""
    rows = np.flatnonzero(may_be_used)
    return rows[stratified(labels[rows], limit)].astype(np.int32)
