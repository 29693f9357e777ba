"""Mixup and CutMix use the arithmetic and loss of Keras, and the distributions of their papers."""

from typing import Any

import keras
import numpy as np
import pytest
from scipy.stats import beta, kstest

from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from tests.worker.training.test_engine import EPOCHS, StepRates, compute_difference, compute_rates, train_with_engine
from tests.worker.training.trainings import Training, fewer, new_network, scale_to_unit, small_spec
from worker.training.augmentation.augment import draw_changes
from worker.training.augmentation.mixing import draw_mixing
from worker.training.engine.optimizer import build_optimizer
from worker.training.engine.order import draw_epoch_order

IMAGES = 193  # six batches of 32, and one of a single image


def mix_with_keras(images: np.ndarray, labels: np.ndarray, drawn: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Mix a batch by Keras' layers, for given draws."""
    partners, shares, *rectangles = drawn
    given: dict[str, Any] = {"permutation_order": partners, "mix_weight": shares}
    layer: Any = keras.layers.MixUp()
    if rectangles:
        layer, masks = keras.layers.CutMix(), np.zeros(images.shape, bool)
        for mask, (top, left, bottom, right) in zip(masks, rectangles[0], strict=True):
            mask[top:bottom, left:right] = True
        given["batch_masks"] = masks
    return layer.transform_images(images, given).numpy(), layer.transform_labels(labels, given).numpy()


def train_with_fit(spec: JobSpec, images: ImageSet) -> Any:
    """Train by `fit` on batches that Keras' layers have mixed."""
    training, setup = spec.training, Training(spec, images)
    data, network = setup.data, new_network(spec, images)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=training.label_smoothing)
    network.compile(build_optimizer(training.optimizer), loss, metrics=["accuracy"])
    pixels, history, size = scale_to_unit(data.images, data.value_range), [], training.batch_size
    for epoch in range(1, EPOCHS + 1):
        order = data.rows["train"][draw_epoch_order(training.seed, epoch, len(data.rows["train"]))]
        seen, labels = pixels[order], np.eye(len(data.classes), dtype=np.float32)[data.labels[order]]
        if spec.augmentation is not None:
            seen = setup.engine._augment(
                seen, *draw_changes(spec.augmentation, data.image, seed=training.seed, epoch=epoch, count=len(order))
            ).numpy()
        drawn = draw_mixing(training, data.image, epoch=epoch, count=len(order))
        batches = [slice(first, first + size) for first in range(0, len(order), size)]
        both = [mix_with_keras(seen[batch], labels[batch], tuple(part[batch] for part in drawn)) for batch in batches]
        mixed_images, mixed_labels = (np.concatenate(part) for part in zip(*both, strict=True))
        weights = None
        if data.class_weights is not None:
            own, partners, shares = data.class_weights[data.labels[order]], drawn[0], drawn[1]
            other = np.concatenate([own[batch][partners[batch]] for batch in batches])
            weights = shares * own + (1 - shares) * other
        result = network.fit(
            mixed_images,
            mixed_labels,
            sample_weight=weights,
            batch_size=size,
            shuffle=False,
            verbose=0,
            callbacks=[StepRates(compute_rates(spec, epoch, len(batches)))],
        ).history
        history.append((result["loss"][0], result["accuracy"][0]))
    return network, history


@pytest.mark.parametrize(
    "spec",
    [
        small_spec(
            {"filters": 6, "l2": 0.01, "dropout": 0.2},
            augmentation={"brightness": 0.2, "erasing": 0.5},
            training={"mixup": 0.4, "label_smoothing": 0.1, "class_weights": {"3": 4.0, "5": 0.25}},
        ),
        small_spec(training={"cutmix": 1.0, "optimizer": {"name": "sgd", "momentum": 0.9}}),
    ],
    ids=["mixup, erased, smoothed, weighted", "cutmix"],
)
def test_weights_and_figures_are_those_of_fit_on_images_mixed_by_keras_bit_for_bit(spec, digits):
    images = fewer(digits, IMAGES)
    ours, history = train_with_engine(spec, images, cuts=(2,))
    reference, expected = train_with_fit(spec, images)
    assert history == expected
    assert compute_difference(ours, reference) == 0


def test_two_towers_mix_as_one_does(digits):
    spec = small_spec(training={"cutmix": 1.0, "optimizer": {"name": "sgd", "learning_rate": 0.1}})
    whole, history = train_with_engine(spec, fewer(digits, IMAGES))
    divided, other_history = train_with_engine(spec, fewer(digits, IMAGES), towers=2)
    np.testing.assert_allclose(other_history, history, rtol=1e-5)
    assert 0 < compute_difference(whole, divided) < 1e-6


def test_partners_are_drawn_within_each_batch_and_again_in_each_epoch():
    training, image = small_spec(training={"mixup": 0.3}).training, (8, 8, 1)
    partners, _ = draw_mixing(training, image, epoch=1, count=1000)
    for first in range(0, 1000, 32):
        within = partners[first : first + 32]
        np.testing.assert_array_equal(np.sort(within), np.arange(len(within)))
    np.testing.assert_array_equal(draw_mixing(training, image, epoch=1, count=1000)[0], partners)
    other_seed = training.model_copy(update={"seed": 8})
    others = [draw_mixing(training, image, epoch=2, count=1000), draw_mixing(other_seed, image, epoch=1, count=1000)]
    for other in others:
        assert np.mean(other[0] == partners) < 0.1


@pytest.mark.parametrize("alpha", [1e-9, 0.2, 1.0])
def test_shares_have_the_beta_distribution(alpha):
    _, shares = draw_mixing(small_spec(training={"mixup": alpha}).training, (8, 8, 1), epoch=1, count=4000)
    assert np.isfinite(shares).all()
    if alpha > 0.01:
        assert kstest(shares, beta(alpha, alpha).cdf).pvalue > 0.01
    else:
        assert shares.mean() == pytest.approx(0.5, abs=0.03)


def test_the_share_of_a_label_is_the_share_of_pixels_that_the_image_keeps():
    training = small_spec(training={"cutmix": 1.0}).training
    _, shares, rectangles = draw_mixing(training, (60, 90, 3), epoch=1, count=3000)
    top, left, bottom, right = rectangles.T
    np.testing.assert_allclose(shares, 1 - (bottom - top) * (right - left) / (60 * 90), rtol=1e-6)
    assert (top.min(), left.min(), bottom.max(), right.max()) == (0, 0, 60, 90)
    assert kstest(shares, "uniform").statistic < 0.03  # Beta(1, 1), except for rounding to whole pixels
