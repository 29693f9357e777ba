"""Divides images into folds, and finds those that a job trains on and is measured on. Pure."""

import heapq
from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from analysis.arrays.relations import Relations, find_units
from heldout.spec.job import JobSpec, ValidationSpec


def assign_folds(
    labels: NDArray[np.int32], pool: NDArray[np.int64], units: NDArray[np.int64] | None, *, folds: int, seed: int
) -> NDArray[np.int64]:
    """Return (pool,) the fold of each image, from 0. It depends on these arguments, but not on the order of `pool`.

    Units of several images come first, those with most of a class before the others. Each goes as a whole to the fold
    with the smallest shares of its classes so far. Then single images are dealt, class by class. Without larger units,
    folds differ by at most one image per class.

    Args:
        labels: (images,) of the whole dataset.
        pool: positions of the images to divide, each once.
        units: (images,) numbers, equal for images that belong together; None if each image is alone.
        seed: decides the order in which units of one size, and images of one class, are dealt.
    """
    shuffled = np.random.default_rng(seed).permutation(np.sort(pool)).tolist()
    members: dict[int, list[int]] = {}
    for image in shuffled:
        members.setdefault(image if units is None else int(units[image]), []).append(image)
    in_pool = np.bincount(labels[pool]).tolist()
    held = [[0] * len(in_pool) for _ in range(folds)]  # images of each class in each fold
    fold_of: dict[int, int] = {}
    several = [(Counter(labels[unit].tolist()), unit) for unit in members.values() if len(unit) > 1]
    # A stable sort: equal units stay in shuffled order.
    for counts, images in sorted(several, key=lambda entry: _weigh_unit(entry[0], in_pool), reverse=True):
        fold = _find_emptiest_fold(counts, held, in_pool)
        fold_of |= dict.fromkeys(images, fold)
        for label, count in counts.items():
            held[fold][label] += count
    singles: dict[int, list[int]] = {}
    for unit in members.values():
        if len(unit) == 1:
            singles.setdefault(int(labels[unit[0]]), []).append(unit[0])
    sizes = [sum(counts) for counts in held]
    for label in sorted(singles):
        waiting = [(held[fold][label], sizes[fold], fold) for fold in range(folds)]
        heapq.heapify(waiting)
        for image in singles[label]:
            count, size, fold = waiting[0]
            heapq.heapreplace(waiting, (count + 1, size + 1, fold))
            fold_of[image] = fold
        sizes = [size for _, size, _ in sorted(waiting, key=lambda entry: entry[2])]
    return np.asarray([fold_of[image] for image in pool.tolist()], np.int64)


def _weigh_unit(unit: Counter[int], in_pool: list[int]) -> float:
    """Return how much of its classes a unit has: units with much of one are the hardest to place."""
    return sum((count / in_pool[label]) ** 2 for label, count in sorted(unit.items()))


def _find_emptiest_fold(unit: Counter[int], held: list[list[int]], in_pool: list[int]) -> int:
    """Return the fold to which a unit adds least to the sum of squared class shares; among equals the smaller one."""

    def measure_growth(fold: int) -> tuple[float, int, int]:
        shares = sum(held[fold][label] * count / in_pool[label] ** 2 for label, count in sorted(unit.items()))
        return shares, sum(held[fold]), fold

    return min(range(len(held)), key=measure_growth)


def find_class_lacking_fold(
    labels: NDArray[np.int32], pool: NDArray[np.int64], fold_of: NDArray[np.int64], folds: int
) -> int | None:
    """Return a class that is missing in some fold; None if every fold has all of them."""
    held = np.zeros((folds, len(np.bincount(labels[pool]))), np.int64)
    np.add.at(held, (fold_of, labels[pool]), 1)
    lacking = np.flatnonzero((held == 0).any(axis=0) & (held.sum(axis=0) > 0))
    return int(lacking[0]) if len(lacking) else None


Positions = NDArray[np.int64]


def compute_job_splits(
    labels: NDArray[np.int32], splits: Mapping[str, Positions], spec: JobSpec, relations: Relations | None
) -> dict[str, Positions]:
    """Return the positions of the images of each of a job's own splits, ascending; always the same.

    Validation is empty if the job trains on all of train and validation.

    Args:
        labels, splits: of its dataset.
        relations: of its dataset; if unknown, folds are made without them.
    """
    own = {split: np.asarray(splits[split], np.int64) for split in SPLITS}
    if spec.validation is not None:
        pool = np.sort(np.concatenate([own["train"], own["validation"]]))
        validates = np.zeros(len(pool), bool)
        if spec.folds is not None:
            validates = assign_job_folds(labels, pool, spec.folds, relations) == spec.folds.fold
        own |= {"train": pool[~validates], "validation": pool[validates]}
    own["train"] = own["train"][choose_stratified(labels[own["train"]], spec.training.train_limit)]
    return own


def choose_stratified(labels: NDArray[np.int32], limit: int | None) -> NDArray[np.int64]:
    """Choose images so that at most `limit` remain, each class with its share; ascending.

    Shares are rounded by largest remainder. The choice depends only on the labels, not on a job's seed, so that jobs of
    one study train on the same images. A smaller limit keeps a subset of a larger one, class by class.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    counts = np.bincount(labels)
    exact = counts * (limit / len(labels))
    quota = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(-(exact - quota), kind="stable")
    quota[by_remainder[: limit - quota.sum()]] += 1
    draws = np.random.default_rng(0)
    kept = [draws.permutation(np.flatnonzero(labels == label))[: quota[label]] for label in range(len(counts))]
    return np.sort(np.concatenate(kept))


def assign_job_folds(
    labels: NDArray[np.int32], pool: Positions, validation: ValidationSpec, relations: Relations | None
) -> NDArray[np.int64]:
    """Return (pool,) the fold of each image of the pool."""
    units = None if relations is None else find_units(relations)
    return assign_folds(labels, pool, units, folds=validation.folds, seed=validation.seed)
