"""Random erasing has the requested frequency, areas and shapes, and fills with the mean of the training images."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import kstest

from analysis.arrays.dataset import load, save
from heldout.spec.augmentation import AugmentationSpec
from tests.worker.training.trainings import fewer, scale_to_unit, small_spec
from worker.training.augmentation.augment import build_augmentation, draw_changes
from worker.training.augmentation.erasing import compute_mean_pixel, draw_rectangles
from worker.training.data.training_data import ResidentData, StreamedData, select


def test_erasing_comes_last_and_equals_a_plain_loop():
    images, fill = np.random.default_rng(0).random((50, 9, 14, 3), np.float32), np.float32([0.1, 0.5, 0.7])
    spec = AugmentationSpec(width_shift=0.2, brightness=0.3, contrast=0.3, erasing=0.6)
    before = spec.model_copy(update={"erasing": 0.0})
    drawn = draw_changes(spec, (9, 14, 3), seed=3, epoch=2, count=50)
    expected = tf.function(build_augmentation(before, (9, 14, 3)))(images, *drawn[:2]).numpy()
    for image, (top, left, bottom, right) in zip(expected, drawn[2], strict=True):
        image[top:bottom, left:right] = fill
    result = tf.function(build_augmentation(spec, (9, 14, 3), fill))(images, *drawn).numpy()
    np.testing.assert_array_equal(result, expected)
    # Turning erasing on leaves the other draws unchanged.
    for with_erasing, without in zip(drawn, draw_changes(before, (9, 14, 3), seed=3, epoch=2, count=50), strict=False):
        np.testing.assert_array_equal(with_erasing, without)


def test_rectangles_have_the_requested_frequency_areas_and_aspect_ratios():
    height, width, count = 900, 1100, 8000
    spec = AugmentationSpec(erasing=0.4, erasing_area=(0.05, 0.25))
    drawn = draw_rectangles(spec, (height, width, 1), seed=1, epoch=1, count=count)
    top, left, bottom, right = drawn[drawn.any(axis=1)].T
    assert len(top) / count == pytest.approx(0.4, abs=0.02)
    assert min(top.min(), left.min()) == 0
    assert (bottom.max(), right.max()) == (height, width)
    area, aspect = (bottom - top) * (right - left) / (height * width), (bottom - top) / (right - left)
    assert kstest(area, "uniform", (0.05, 0.2)).pvalue > 0.01
    assert kstest(np.log(aspect), "uniform", (np.log(0.3), np.log(3.3 / 0.3))).pvalue > 0.01
    assert kstest(top / (height - (bottom - top)), "uniform").pvalue > 0.01
    again = draw_rectangles(spec, (height, width, 1), seed=1, epoch=1, count=count)
    np.testing.assert_array_equal(again, drawn)
    assert (draw_rectangles(spec, (height, width, 1), seed=1, epoch=2, count=count) != drawn).any()


@pytest.mark.parametrize("image", [(1, 1, 1), (3, 40, 1), (8, 8, 1)])
@pytest.mark.parametrize("area", [(0.02, 0.02), (0.9, 1.0)])
def test_a_rectangle_fits_into_every_image_and_has_the_requested_area(image, area):
    spec = AugmentationSpec(erasing=1.0, erasing_area=area)
    top, left, bottom, right = draw_rectangles(spec, image, seed=1, epoch=1, count=500).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (bottom <= image[0]).all()
    assert (right <= image[1]).all()
    taken = (bottom - top) * (right - left)
    assert (taken >= 1).all()
    wanted = np.mean(area) * image[0] * image[1]
    assert taken.mean() == pytest.approx(wanted, abs=max(1, 0.03 * wanted))


def test_the_fill_is_the_mean_of_the_images_used_for_training(cifar_like, tmp_path):
    save(cifar_like, tmp_path)
    stored, spec = load(tmp_path), small_spec(training={"train_limit": 130})
    means = []
    for limit in (None, 0):
        data = select(stored, spec, limit)
        source = StreamedData(data) if data.is_streamed else ResidentData(data)
        means.append(compute_mean_pixel(source, data.rows["train"], data.value_range))
    np.testing.assert_array_equal(*means)
    data = select(cifar_like, spec)
    taken = scale_to_unit(data.images[data.rows["train"]], data.value_range).astype(np.float64)
    np.testing.assert_allclose(means[0], taken.mean(axis=(0, 1, 2)), rtol=1e-6)
    assert len(set(means[0])) == 3


@pytest.fixture
def cifar_like(digits):
    """Return images with three color channels whose values begin below zero."""
    images = fewer(digits, 200)
    colors = np.concatenate([images.images, images.images // 2, images.images // 3], axis=-1).astype(np.float32)
    return replace(images, images=colors - 4, value_range=(-4.0, 12.0))
