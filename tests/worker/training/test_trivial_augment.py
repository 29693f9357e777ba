"""TrivialAugment's operations equal Pillow's, with the frequencies and strengths of the wide space of its paper."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps
from scipy.stats import chisquare

from heldout.spec.augmentation import AugmentationSpec
from worker.training.augmentation.augment import build_augmentation, draw_changes
from worker.training.augmentation.trivial_augment import CHANGES, MOVES, apply_operations, draw_operations

ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}
# Each operation in Pillow, given its strength.
PILLOW = {
    "identity": lambda image, _: image,
    **{name: lambda image, factor, make=make: make(image).enhance(factor) for name, make in ENHANCERS.items()},
    "posterize": lambda image, step: ImageOps.posterize(image, 8 - int(np.log2(step))),
    "solarize": lambda image, threshold: ImageOps.solarize(image, threshold),
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
}
ROUNDED = {"brightness", "color", "contrast", "sharpness", "autocontrast"}  # to whole bytes, in Pillow


def apply(images: np.ndarray, kind: str, strengths: np.ndarray | float) -> np.ndarray:
    """Apply one operation to bytes; return unrounded values on the same scale."""
    rows = np.zeros((len(images), 10), np.float32)
    rows[:, 0], rows[:, 1] = list(CHANGES).index(kind), strengths
    changed = tf.function(lambda images, rows: apply_operations(images, rows, "nearest"))
    return changed((images / 255).astype(np.float32), rows).numpy() * 255


def make_pictures(channels: int) -> np.ndarray:
    """Make smooth and noisy images of bytes, some with only a few values."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[:24, :30]
    smooth = 255 * (np.sin(x[None] / draws.uniform(2, 9, (60, 1, 1))) * np.cos(y[None] / 5) + 1) / 2
    noisy = draws.integers(40, 200, (60, 24, 30))
    few = draws.integers(0, 3, (20, 24, 30)) * 90
    found = np.concatenate([smooth, noisy, few, np.full((4, 24, 30), 77)]).astype(np.uint8)
    return np.stack([np.roll(found, shift, axis=0) for shift in range(channels)], axis=-1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CHANGES)
def test_an_operation_on_pixels_is_that_of_pillow(name, channels):
    images = make_pictures(channels)
    drawn = draw_operations((24, 30, channels), seed=1, epoch=1, count=20_000)
    strengths = np.unique(drawn[drawn[:, 0] == list(CHANGES).index(name), 1])
    chosen = np.resize(strengths, len(images)).astype(np.float32)
    result = apply(images, name, chosen)
    for image, seen, strength in zip(images, result, chosen.astype(np.float64), strict=True):
        pillow = Image.fromarray(image[..., 0] if channels == 1 else image)
        expected = np.asarray(PILLOW[name](pillow, strength), np.float64).reshape(image.shape)
        # Pillow rounds the gray of color images and their mean, and truncates fractions.
        np.testing.assert_allclose(seen, expected, rtol=0, atol=2.01 if name in ROUNDED else 1e-3)
    assert np.abs(result - images).max() > 20 or name == "identity" or (name == "color" and channels == 1)


def test_operations_agree_with_pillow_on_average_except_for_rounding():
    """Truncation costs half a byte on average. A larger difference would be another operation."""
    images = make_pictures(3)[:120]
    for name in ROUNDED:
        strength = 1.6 if name in ENHANCERS else 0.0
        seen = apply(images, name, strength)
        expected = np.stack([np.asarray(PILLOW[name](Image.fromarray(image), strength), float) for image in images])
        assert np.abs(seen - expected).mean() < 0.75, name


@pytest.mark.parametrize("name", MOVES)
def test_an_operation_that_moves_pixels_is_that_of_pillow(name):
    images = np.random.default_rng(0).random((2000, 24, 30, 1), np.float32)
    spec = AugmentationSpec(trivial_augment=True, fill_mode="constant")
    [rows] = draw_changes(spec, (24, 30, 1), seed=1, epoch=1, count=len(images))
    place = {"shear_x": 1, "shear_y": 3, "translate_x": 2, "translate_y": 5, "rotate": 0}[name]
    identity = np.float32([1, 0, 0, 0, 1, 0])
    moved = rows[:, 2:8] != identity
    only = {"shear_x": {1, 2}, "shear_y": {3, 5}, "translate_x": {2}, "translate_y": {5}}
    taken = [
        number
        for number, fields in enumerate(moved)
        if (set(np.flatnonzero(fields)) == only[name] if name in only else fields[0])
    ][:30]
    assert len(taken) == 30
    result = tf.function(build_augmentation(spec, (24, 30, 1)))(images[taken], rows[taken]).numpy()
    for image, seen, row in zip(images[taken], result, rows[taken, 2:], strict=True):
        plane = Image.fromarray(image[..., 0])
        amount = float(row[place])
        if name == "rotate":
            angle = np.degrees(np.arctan2(row[3], row[0]))
            expected = plane.rotate(angle, Image.Resampling.NEAREST)
        else:
            fields = [1, 0, 0, 0, 1, 0]
            fields[place] = amount
            expected = plane.transform(plane.size, Image.Transform.AFFINE, fields, Image.Resampling.NEAREST)
        # If a source is between two pixels, rounding decides which of them is nearer.
        assert (np.asarray(expected) == seen[..., 0]).mean() > 0.97


@pytest.mark.parametrize("fill_mode", ["nearest", "constant", "reflect"])
def test_pixels_move_as_with_tensorflow_in_every_fill_mode(fill_mode):
    rows = draw_operations((24, 30, 3), seed=1, epoch=1, count=600)
    rows = rows[rows[:, 0] == len(CHANGES)]
    images = np.random.default_rng(0).random((len(rows), 24, 30, 3), np.float32)
    expected = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=rows[:, 2:],
        output_shape=[24, 30],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode=fill_mode.upper(),
    )
    moved = tf.function(lambda *given: apply_operations(*given, fill_mode))(images, rows)
    assert (moved.numpy() == expected.numpy()).mean() > 0.998  # ties between two pixels may go either way


def test_operations_and_strengths_are_drawn_as_in_the_paper():
    count = 60_000
    drawn = draw_operations((40, 40, 3), seed=1, epoch=1, count=count)
    kinds, strengths, moves = drawn[:, 0].astype(int), drawn[:, 1], drawn[:, 2:].astype(np.float64)
    moved = (moves[:, :6] != [1, 0, 0, 0, 1, 0]).any(axis=1)
    assert (kinds[moved] == len(CHANGES)).all()
    shares = [(kinds == number).sum() for number in range(len(CHANGES))]
    assert chisquare([*shares, count - sum(shares)], [count / 14] * 9 + [count * 5 / 14]).pvalue > 0.01
    factors = 1 + np.linspace(-0.99, 0.99, 61)
    wide = {
        "brightness": factors,
        "color": factors,
        "contrast": factors,
        "sharpness": factors,
        "posterize": 2.0 ** np.arange(7),  # 8 to 2 bits
        "solarize": np.linspace(0, 255, 31),
    }
    for name, expected in wide.items():
        found = np.unique(strengths[kinds == list(CHANGES).index(name)])
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=name)
    shear = np.unique(moves[moved & (moves[:, 0] == 1), 1])
    np.testing.assert_allclose(shear, np.linspace(-0.99, 0.99, 61), atol=1e-6)
    across = moves[(moves[:, 1] == 0) & moved, 2]
    assert (across.min(), across.max()) == (-32, 32)
    assert set(across) == set(across.round())
    turns = moves[moves[:, 0] != 1]
    angles = np.unique(np.degrees(np.arctan2(turns[:, 3], turns[:, 0])).round(4))
    np.testing.assert_allclose(angles, np.delete(np.linspace(-135, 135, 61), 30), atol=1e-3)
    small = draw_operations((8, 8, 1), seed=1, epoch=1, count=2000)[:, 2:]
    assert np.abs(small[small[:, 1] == 0][:, 2]).max() == 8


def test_each_image_gets_its_own_operation_in_any_division_into_batches():
    images = np.random.default_rng(0).random((64, 12, 12, 3), np.float32)
    spec = AugmentationSpec(trivial_augment=True)
    rows = draw_changes(spec, (12, 12, 3), seed=1, epoch=1, count=64)
    augment = tf.function(build_augmentation(spec, (12, 12, 3)))
    whole = augment(images, *rows).numpy()
    for first in (0, 20, 63):
        part = augment(images[first : first + 20], *(row[first : first + 20] for row in rows)).numpy()
        np.testing.assert_array_equal(part, whole[first : first + 20])
    again = draw_changes(spec, (12, 12, 3), seed=1, epoch=2, count=64)
    assert (again[0] != rows[0]).any()


@pytest.mark.parametrize("image", [(1, 1, 1), (2, 5, 3), (3, 3, 1)])
def test_the_smallest_images_can_be_changed(image):
    images = np.random.default_rng(0).random((200, *image), np.float32)
    spec = AugmentationSpec(trivial_augment=True)
    result = build_augmentation(spec, image)(images, *draw_changes(spec, image, seed=1, epoch=1, count=200)).numpy()
    assert np.isfinite(result).all()
    assert (result.min() >= 0) & (result.max() <= 1)
