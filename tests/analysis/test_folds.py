"""Folds: each image validates once, classes are spread evenly, and related images stay together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from analysis.arrays.folds import assign_folds, compute_job_splits, find_class_lacking_fold
from analysis.arrays.relations import Relations
from tests.models.work import spec

LABELS = np.random.default_rng(1).integers(0, 4, 300).astype(np.int32)
SPLITS = {"train": np.arange(200), "validation": np.arange(200, 240), "test": np.arange(240, 300)}


def of_fold(fold: int, folds: int = 5, relations: Relations | None = None, **training: object) -> dict:
    asked = spec(validation={"folds": folds, "fold": fold}, training={"seed": 1, **training})
    return compute_job_splits(LABELS, SPLITS, asked, relations)


def test_each_image_validates_in_one_fold_and_trains_in_the_others() -> None:
    cuts = [of_fold(fold) for fold in range(5)]
    assert np.sort(np.concatenate([cut["validation"] for cut in cuts])).tolist() == list(range(240))
    for cut in cuts:
        assert np.sort(np.concatenate([cut["train"], cut["validation"]])).tolist() == list(range(240))
        assert (np.diff(cut["train"]) > 0).all()
        assert cut["test"].tolist() == SPLITS["test"].tolist()


def test_folds_differ_by_at_most_one_image_in_size_and_per_class() -> None:
    counts = np.stack([np.bincount(LABELS[of_fold(fold)["validation"]]) for fold in range(5)])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 1


def test_the_seed_determines_the_folds() -> None:
    pool = np.arange(240)
    fold_of = assign_folds(LABELS, pool, None, folds=5, seed=0)
    assert np.array_equal(assign_folds(LABELS, pool[::-1], None, folds=5, seed=0)[::-1], fold_of)
    assert not np.array_equal(assign_folds(LABELS, pool, None, folds=5, seed=1), fold_of)


def test_folds_stay_the_same_in_later_releases() -> None:
    """Jobs of one study may run under several releases."""
    labels = np.asarray([0, 1] * 10, np.int32)
    units = np.asarray([0, 0, 2, 2, 2, *range(5, 20)])
    assert assign_folds(labels, np.arange(20), units, folds=3, seed=0).tolist() == (
        [1, 1, 0, 0, 0, 0, 2, 2, 2, 2, 1, 1, 0, 0, 2, 0, 2, 1, 1, 2]
    )


def test_a_train_limit_selects_from_the_training_images_of_the_fold() -> None:
    whole, limited = of_fold(1), of_fold(1, train_limit=60)
    assert len(limited["train"]) == 60
    assert set(limited["train"]) < set(whole["train"])
    assert np.array_equal(limited["validation"], whole["validation"])


@settings(max_examples=50)
@given(st.integers(0, 2**31 - 1), st.integers(2, 6))
def test_copies_groups_and_chains_of_both_stay_in_one_fold(seed: int, folds: int) -> None:
    draws = np.random.default_rng(seed)
    copy_of = np.arange(300, dtype=np.int32)
    for first, second in draws.integers(0, 300, (60, 2)):  # across classes and splits
        copy_of[copy_of == copy_of[max(first, second)]] = copy_of[min(first, second)]
    relations = Relations(copy_of, draws.integers(0, 150, 300).astype(np.int32))
    cut = of_fold(0, folds, relations)
    assert not relations.find_related(cut["train"])[cut["validation"]].any()


def test_groups_of_several_classes_are_spread_at_least_as_evenly_as_by_scikit_learn() -> None:
    ours, theirs = 0.0, 0.0
    for seed in range(10):
        group = np.random.default_rng(seed).integers(0, 60, len(LABELS))
        fold_of = assign_folds(LABELS, np.arange(len(LABELS)), group, folds=5, seed=seed)
        reference = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(LABELS, LABELS, group)
        ours += np.stack([np.bincount(LABELS[fold_of == fold], minlength=4) for fold in range(5)]).var(axis=0).sum()
        theirs += np.stack([np.bincount(LABELS[held], minlength=4) for _, held in reference]).var(axis=0).sum()
    assert ours <= theirs


def test_a_class_that_is_too_small_for_the_folds_is_found() -> None:
    labels = np.asarray([0] * 20 + [1] * 3 + [2] * 20, np.int32)
    pool = np.arange(43)
    for folds, found in ((3, None), (4, 1)):
        assert (
            find_class_lacking_fold(labels, pool, assign_folds(labels, pool, None, folds=folds, seed=0), folds) == found
        )


@pytest.mark.parametrize("folds", [2, 5])
def test_without_folds_the_dataset_keeps_its_splits(folds: int) -> None:
    cut = compute_job_splits(LABELS, SPLITS, spec(), None)
    assert all(np.array_equal(cut[split], SPLITS[split]) for split in SPLITS)
