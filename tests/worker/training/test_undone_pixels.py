"""A change of brightness is recognized; the effects of blur, noise and rotation are not mistaken for one."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, rotate
from sklearn.datasets import load_digits

from analysis.arrays.dataset import ImageSet
from worker.training.data.training_data import make_source, take_images
from worker.training.measuring.pixel_changes import (
    PixelSample,
    compute_quantiles,
    find_change,
    list_changes_to_try,
    sample_of,
    spread_evenly,
)

RANGE = (0.0, 255.0)


def make_digits() -> np.ndarray:
    """Return digits, three times as large and with an empty border: (count, 36, 36)."""
    small = load_digits().images * 15.0
    large = small.repeat(3, axis=1).repeat(3, axis=2)
    return np.pad(large, ((0, 0), (6, 6), (6, 6)))


def make_sample(images: np.ndarray) -> PixelSample:
    return PixelSample(images.round().astype(np.float32).reshape(len(images), -1, 1), RANGE)


IMAGES = make_digits()
TRAIN, HELD_OUT = IMAGES[:900], IMAGES[900:]


def blur(images: np.ndarray) -> np.ndarray:
    return gaussian_filter(images, (0, 3, 3))


def rotate_images(images: np.ndarray) -> np.ndarray:
    return np.clip(rotate(images, 40, axes=(1, 2), reshape=False, order=1), 0, 255)


def add_noise(images: np.ndarray) -> np.ndarray:
    return np.clip(images + np.random.default_rng(0).normal(0, 60, images.shape), 0, 255)


@pytest.mark.parametrize("worsened", [blur, rotate_images, add_noise])
def test_blur_rotation_and_noise_are_not_mistaken_for_another_brightness(worsened):
    assert list_changes_to_try(make_sample(TRAIN), make_sample(worsened(HELD_OUT))) == []


def test_noise_is_not_mistaken_for_another_brightness_if_only_its_dark_end_is_clipped():
    train, held_out = make_sample(0.6 * TRAIN), make_sample(add_noise(0.6 * HELD_OUT))
    assert (held_out.values == 255).mean() < 0.02
    assert held_out.values.mean() > train.values.mean() + 5
    assert list_changes_to_try(train, held_out) == []


@pytest.mark.parametrize("worsened", [lambda images: images, blur, rotate_images])
@pytest.mark.parametrize(("factor", "offset"), [(0.5, 0.0), (0.6, 40.0), (0.9, 30.0)])
def test_another_brightness_is_found_even_in_blurred_and_rotated_images(worsened, factor, offset):
    held_out = make_sample(worsened(HELD_OUT) * factor + offset)
    assert held_out.values.max() < RANGE[1]
    assert list_changes_to_try(make_sample(TRAIN), held_out) == ["brightness"]
    found = find_change("brightness", make_sample(TRAIN), held_out)
    assert found is not None
    assert found.factor == pytest.approx(1 / factor, rel=0.08)
    assert found.offset == pytest.approx(-offset / factor, abs=8)
    assert not found.is_cut_off


@pytest.mark.parametrize(
    ("kind", "pixels"), [("scale", lambda images: images / 255), ("inversion", lambda images: 255 - images)]
)
def test_no_brightness_is_tried_if_a_simpler_change_explains_the_images(kind, pixels):
    held_out = PixelSample(pixels(HELD_OUT).astype(np.float32).reshape(len(HELD_OUT), -1, 1), RANGE)
    assert list_changes_to_try(make_sample(TRAIN), held_out) == [kind]


def test_clipped_values_become_the_mean_of_the_lost_values():
    found = find_change("brightness", make_sample(TRAIN), make_sample(np.clip(HELD_OUT + 60, 0, 255)))
    assert found is not None
    lost = TRAIN[TRAIN >= 195]
    assert found.top == pytest.approx(lost.mean(), abs=3)
    assert found.factor == pytest.approx(1, abs=0.05)
    assert found.offset == pytest.approx(-60, abs=5)


def test_values_that_a_darker_set_rounds_to_zero_are_not_clipped():
    """Much of the border is nearly black, and entirely black in the darker set."""
    faint = IMAGES + gaussian_filter(IMAGES, (0, 4, 4)) / 20
    train, held_out = make_sample(faint[:900]), make_sample(faint[900:] * 0.3)
    assert (held_out.values == 0).mean() > (train.values == 0).mean() + 0.1
    found = find_change("brightness", train, held_out)
    assert found is not None
    assert found.factor == pytest.approx(1 / 0.3, rel=0.05)
    assert not found.is_cut_off


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_quantiles_equal_those_of_numpy_bit_for_bit(kind):
    values = (np.random.default_rng(1).random((20, 37)) * 255).astype(kind).astype(np.float32)
    shares = (0.0, 0.1, 0.5, 0.9, 1.0)
    expected = np.quantile(values.astype(np.float64), shares, axis=1).T
    np.testing.assert_array_equal(compute_quantiles(values, shares), expected)


def test_a_sample_is_read_once_for_the_same_images_and_anew_for_others():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), np.uint8)
    images = ImageSet(pixels, np.zeros(5, np.int32), {}, ("a",), RANGE)
    sources = [make_source(take_images(images, {"train": places}, None)) for places in (np.arange(4), np.arange(1, 5))]
    rows = np.arange(4, dtype=np.int32)
    samples = [sample_of(sources[0], rows, RANGE) for _ in range(2)]
    assert samples[0] is samples[1]
    shown = spread_evenly(1600, 1024)
    for source, taken, expected in [(0, rows, pixels[:4]), (0, rows[1:], pixels[1:4]), (1, rows, pixels[1:])]:
        found = sample_of(sources[source], taken, RANGE)
        np.testing.assert_array_equal(found.values, expected.reshape(-1, 1600, 3)[:, shown])
