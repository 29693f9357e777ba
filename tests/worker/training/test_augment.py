"""Augmentation gives the pixels and draws of Keras' legacy ImageDataGenerator, with its axes corrected."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from scipy.ndimage import map_coordinates
from scipy.stats import ks_2samp

from heldout.spec.augmentation import AugmentationSpec, RandomCropSpec
from worker.training.augmentation import augment
from worker.training.augmentation.augment import (
    Amounts,
    build_augmentation,
    color,
    draw_amounts,
    draw_changes,
    make_affine_matrices,
    make_colors,
    stack_brightness_contrast,
    warp,
)

FILL_MODES = ["nearest", "constant", "reflect", "wrap"]
EVERYTHING = {
    "rotation_degrees": 180.0,
    "width_shift": 0.5,
    "height_shift": 0.4,
    "zoom": 0.5,
    "horizontal_flip": True,
    "vertical_flip": True,
}


def draw(spec: AugmentationSpec, image: tuple[int, int, int] = (28, 28, 1), *, seed=1, epoch=1, count=64) -> Amounts:
    return draw_amounts(spec, image, seed=seed, epoch=epoch, count=count)


def change(images: np.ndarray, amounts: Amounts, spec: AugmentationSpec) -> np.ndarray:
    image = images.shape[1:]
    changed = tf.function(build_augmentation(spec, image))
    moves, shades = (
        [make_affine_matrices(amounts, image)] * spec.moves,
        [stack_brightness_contrast(amounts)] * spec.shades,
    )
    return changed(tf.constant(images), *moves, *shades).numpy()


@pytest.fixture(scope="module")
def scans(mnist5k) -> np.ndarray:
    return (mnist5k.images[::79][:64] / 255).astype(np.float32)


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
@pytest.mark.parametrize("fill_mode", FILL_MODES)
def test_pixels_are_those_of_the_legacy_generator(scans, fill_mode):
    spec = AugmentationSpec(**EVERYTHING, fill_mode=fill_mode)
    amounts = draw(spec)
    generator = ImageDataGenerator(fill_mode=fill_mode)
    expected = [
        generator.apply_transform(
            scan,
            {
                "theta": np.rad2deg(amounts.theta[i]),
                "tx": amounts.tx[i],  # the generator's own name for columns, once its axes are swapped
                "ty": amounts.ty[i],
                "zx": amounts.zx[i],
                "zy": amounts.zy[i],
                "flip_horizontal": amounts.flip_x[i],
                "flip_vertical": amounts.flip_y[i],
            },
        )
        for i, scan in enumerate(scans)
    ]
    np.testing.assert_allclose(change(scans, amounts, spec), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rotation", [180.0, 0.0])
@pytest.mark.parametrize("fill_mode", FILL_MODES)
def test_images_that_are_not_square_turn_about_their_own_center(fill_mode, rotation):
    spec = AugmentationSpec(**EVERYTHING | {"rotation_degrees": rotation}, fill_mode=fill_mode)
    height, width, channels = 13, 24, 3
    images = np.random.default_rng(0).random((40, height, width, channels), np.float32)
    amounts = draw(spec, (height, width, channels), count=40)
    center = np.array([(width - 1) / 2, (height - 1) / 2])[:, None]
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    expected = np.empty_like(images)
    for i in range(40):
        seen = np.stack([width - 1 - x if amounts.flip_x[i] else x, height - 1 - y if amounts.flip_y[i] else y])
        turn = np.array(
            [
                [np.cos(amounts.theta[i]), -np.sin(amounts.theta[i])],
                [np.sin(amounts.theta[i]), np.cos(amounts.theta[i])],
            ]
        )
        zoom = np.array([[amounts.zx[i]], [amounts.zy[i]]])
        shift = np.array([[amounts.tx[i]], [amounts.ty[i]]])
        source = turn @ (zoom * (seen - center) + shift) + center
        for channel in range(channels):
            plane = map_coordinates(images[i, ..., channel], source[::-1], order=1, mode=fill_mode)
            expected[i, ..., channel] = plane.reshape(height, width)
    np.testing.assert_allclose(change(images, amounts, spec), expected, rtol=0, atol=1e-5)


def test_a_width_shift_moves_columns_and_a_height_shift_rows():
    column, row = np.zeros((2, 64, 9, 9, 1), np.float32)
    column[:, :, 4], row[:, 4] = 1, 1
    wide, high = AugmentationSpec(width_shift=0.3), AugmentationSpec(height_shift=0.3)
    np.testing.assert_allclose(change(row, draw(wide, (9, 9, 1)), wide), row, atol=1e-6)
    np.testing.assert_allclose(change(column, draw(high, (9, 9, 1)), high), column, atol=1e-6)
    assert np.abs(change(column, draw(wide, (9, 9, 1)), wide) - column).max() > 0.9
    assert np.abs(change(row, draw(high, (9, 9, 1)), high) - row).max() > 0.9


def test_draws_are_distributed_as_those_of_the_legacy_generator():
    spec = AugmentationSpec(
        rotation_degrees=20, width_shift=0.2, height_shift=0.1, zoom=0.3, horizontal_flip=True, vertical_flip=True
    )
    generator = ImageDataGenerator(
        rotation_range=20,
        width_shift_range=0.1,  # which moves rows
        height_shift_range=0.2,
        zoom_range=0.3,
        horizontal_flip=True,
        vertical_flip=True,
    )
    theirs = [generator.get_random_transform((28, 28, 1), seed) for seed in range(1500)]
    ours = [draw(spec, seed=seed, epoch=epoch, count=1) for seed in range(50) for epoch in range(1, 31)]
    for name, scale in {"theta": np.pi / 180, "tx": 1, "ty": 1, "zx": 1, "zy": 1}.items():
        values = [getattr(amounts, name)[0] for amounts in ours]
        expected = [transform[name] * scale for transform in theirs]
        assert ks_2samp(values, expected).pvalue > 0.01, name
    for name, their_name in {"flip_x": "flip_horizontal", "flip_y": "flip_vertical"}.items():
        share = np.mean([getattr(amounts, name)[0] for amounts in ours])
        assert share == pytest.approx(np.mean([transform[their_name] for transform in theirs]), abs=0.05), name


def test_draws_repeat_for_the_same_seed_and_epoch_and_only_then():
    spec = AugmentationSpec(**EVERYTHING)
    theta = draw(spec).theta
    np.testing.assert_array_equal(draw(spec).theta, theta)
    assert len(set(theta)) == len(theta)
    assert not np.isin(draw(spec, epoch=2).theta, theta).any()
    assert not np.isin(draw(spec, seed=2).theta, theta).any()
    correlations = np.corrcoef([draw(spec, count=2000).theta, draw(spec, count=2000).tx, draw(spec, count=2000).zx])
    assert np.abs(correlations - np.eye(3)).max() < 0.08


def test_turning_on_a_change_leaves_the_draws_of_others_unchanged():
    rotated, both = draw(AugmentationSpec(rotation_degrees=10)), draw(AugmentationSpec(rotation_degrees=10, zoom=0.2))
    np.testing.assert_array_equal(rotated.theta, both.theta)
    assert set(rotated.zx) == {1}


def test_an_empty_spec_changes_nothing(scans):
    spec = AugmentationSpec()
    np.testing.assert_array_equal(change(scans, draw(spec), spec), scans)


def test_a_flip_mirrors_the_drawn_images_exactly(scans):
    spec = AugmentationSpec(horizontal_flip=True)
    amounts = draw(spec)
    assert 0 < amounts.flip_x.sum() < 64
    expected = np.where(amounts.flip_x[:, None, None, None], scans[:, :, ::-1], scans)
    np.testing.assert_array_equal(change(scans, amounts, spec), expected)


def test_contrast_and_brightness_are_those_of_tf_image_clipped_to_the_range():
    images = np.random.default_rng(0).random((64, 9, 7, 3), np.float32)
    spec = AugmentationSpec(contrast=0.5, brightness=0.5)
    amounts = draw(spec, (9, 7, 3))
    expected = [
        tf.clip_by_value(tf.image.adjust_brightness(tf.image.adjust_contrast(image, contrast), brightness), 0.0, 1.0)
        for image, contrast, brightness in zip(
            images, amounts.contrast.astype(np.float32), amounts.brightness.astype(np.float32), strict=True
        )
    ]
    result = change(images, amounts, spec)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert (result.min(), result.max()) == (0, 1)
    assert np.abs(amounts.brightness).max() > 0.45
    assert amounts.contrast.min() < 0.6
    assert amounts.contrast.max() > 1.4


def test_hue_and_saturation_are_those_of_keras_layers():
    draws = np.random.default_rng(0)
    images = draws.random((64, 9, 7, 3), np.float32)
    images[:8] = images[:8, :, :, :1]  # gray
    images[8:16] = images[8:16].round()  # fully saturated, white and black
    spec = AugmentationSpec(hue=0.5, saturation=0.5)
    amounts = draw(spec, (9, 7, 3))
    saturated = keras.layers.RandomSaturation(1.0, value_range=(0, 1)).transform_images(
        images, {"factor": amounts.saturation.astype(np.float32)}
    )
    expected = keras.layers.RandomHue(1.0, value_range=(0, 1)).transform_images(
        saturated, {"factor": amounts.hue.astype(np.float32)}
    )
    result = tf.function(color)(images, make_colors(amounts), spec).numpy()
    np.testing.assert_allclose(result, expected, atol=2e-5)
    without_hue = AugmentationSpec(saturation=0.5)
    only_saturated = color(images, make_colors(draw(without_hue, (9, 7, 3))), without_hue)
    np.testing.assert_allclose(only_saturated, saturated, atol=2e-5)
    assert np.abs(result - images)[16:].max() > 0.5
    np.testing.assert_allclose(result[:8], images[:8], atol=1e-6)
    assert (np.abs(amounts.hue).max(), amounts.saturation.min(), amounts.saturation.max()) == pytest.approx(
        (0.5, 0.5, 1.5), abs=0.05
    )


def test_an_image_is_resampled_once(scans, monkeypatch):
    calls = []
    monkeypatch.setattr(augment, "warp", lambda *taken: calls.append(1) or warp(*taken))
    spec = AugmentationSpec(**EVERYTHING, random_crop=RandomCropSpec())
    [rows] = draw_changes(spec, (28, 28, 1), seed=1, epoch=1, count=64)
    build_augmentation(spec, (28, 28, 1))(tf.constant(scans), tf.constant(rows))
    assert calls == [1]
