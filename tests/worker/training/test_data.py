"""What a training sees of its dataset: which images, with which weights, and on what scale."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.utils.class_weight import compute_class_weight

from analysis.arrays.dataset import load, save
from analysis.arrays.folds import choose_stratified
from heldout.errors import InvalidSpec
from tests.worker.training.trainings import scale_to_unit, small_spec
from worker.training.data.training_data import ResidentData, compute_class_weights, select

LABELS = arrays(np.int32, st.integers(1, 200), elements=st.integers(0, 6))


@given(LABELS, st.integers(1, 220))
def test_a_limit_keeps_that_many_images_and_the_share_of_each_class(labels, limit):
    kept = choose_stratified(labels, limit)
    assert len(kept) == min(limit, len(labels))
    assert np.all(np.diff(kept) > 0)
    shares = np.bincount(labels) * len(kept) / len(labels)
    assert np.all(np.abs(np.bincount(labels[kept], minlength=len(shares)) - shares) < 1)


def test_a_limit_keeps_the_same_images_for_every_seed_and_affects_only_train(digits):
    specs = [small_spec(training={"train_limit": 100, "seed": seed}) for seed in (1, 2)]
    first, second = (select(digits, spec) for spec in specs)
    np.testing.assert_array_equal(first.source["train"], second.source["train"])
    assert len(first.rows["train"]) == 100
    assert set(first.source["train"]) < set(digits.splits["train"])
    np.testing.assert_array_equal(first.source["validation"], digits.splits["validation"])
    np.testing.assert_array_equal(first.source["test"], digits.splits["test"])


def test_a_larger_limit_keeps_the_images_of_a_smaller_limit(digits):
    labels = digits.labels[digits.splits["train"]]
    fifty, more, all_images = (set(choose_stratified(labels, limit)) for limit in (50, 400, None))
    assert fifty < more < all_images


def test_rows_lead_to_the_images_and_labels_of_their_split(digits, tmp_path):
    save(digits, tmp_path)
    data = select(load(tmp_path), small_spec())
    for split, positions in digits.splits.items():
        np.testing.assert_array_equal(data.images[data.rows[split]], digits.images[positions])
        np.testing.assert_array_equal(data.labels[data.rows[split]], digits.labels[positions])
        np.testing.assert_array_equal(data.source[split], positions)


def test_a_test_split_that_is_never_measured_is_not_loaded(digits):
    data = select(digits, small_spec(evaluation={"test": "never"}))
    assert set(data.rows) == set(data.source) == {"train", "validation"}
    assert len(data.images) == len(digits.splits["train"]) + len(digits.splits["validation"])


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.array([0] * 7 + [1] * 2 + [2], np.int32)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(compute_class_weights("balanced", labels, ("a", "b", "c")), expected, rtol=1e-6)


def test_balanced_weights_count_only_images_within_the_limit(digits):
    spec = small_spec(training={"class_weights": "balanced", "train_limit": 33})
    data = select(digits, spec)
    labels = data.labels[data.rows["train"]]
    expected = compute_class_weight("balanced", classes=np.arange(10), y=labels)
    np.testing.assert_allclose(data.class_weights, expected, rtol=1e-6)


def test_a_class_without_images_has_a_finite_weight():
    weights = compute_class_weights("balanced", np.array([0, 0, 2], np.int32), ("a", "b", "c"))
    assert np.isfinite(weights).all()


def test_a_label_without_a_weight_weighs_one():
    np.testing.assert_array_equal(compute_class_weights({"b": 2.5}, np.array([0], np.int32), ("a", "b")), [1, 2.5])
    assert compute_class_weights(None, np.array([0], np.int32), ("a", "b")) is None


def test_an_unknown_label_is_refused():
    with pytest.raises(InvalidSpec, match="no label 'z'") as refused:
        compute_class_weights({"a": 1.0, "z": 2.0}, np.array([0], np.int32), ("a", "b"))
    assert refused.value.errors[0].pointer == "/training/class_weights"


@pytest.mark.parametrize("value_range", [(0, 255), (0, 16), (-3.5, 7.25)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_pixels_of_a_batch_are_divided_by_the_range_exactly(digits, value_range, dtype):
    every_byte = np.arange(256, dtype=dtype).reshape(4, 8, 8, 1)
    splits = {"train": np.array([2, 0, 1, 3]), "validation": np.array([], np.int64), "test": np.array([], np.int64)}
    images = replace(digits, images=every_byte, labels=np.arange(4, dtype=np.int32), splits=splits)
    data = select(replace(images, value_range=value_range), small_spec())
    resident = ResidentData(data)
    pixels, labels = tf.function(resident.batch)(tf.constant([3, 1]))
    np.testing.assert_array_equal(pixels, scale_to_unit(data.images[[3, 1]], value_range))
    np.testing.assert_array_equal(labels, data.labels[[3, 1]])
    low, high = (np.float32(bound) for bound in value_range)
    np.testing.assert_array_equal(pixels, (every_byte[[3, 0]].astype(np.float32) - low) / (high - low))
