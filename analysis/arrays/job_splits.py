"""The images that a job trains on and is measured on: its dataset's splits or a fold, limited by its spec. Pure."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from analysis.arrays.folds import assign_folds
from analysis.arrays.relations import Relations, find_units
from heldout.spec.job import JobSpec, ValidationSpec

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
