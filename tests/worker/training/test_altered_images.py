"""Inverted images and images with swapped channels are found: the result is compared with those that were changed."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from worker.training.measuring.altered_images import find_altered
from worker.training.measuring.pixel_changes import PixelChange

RANGE = (0.0, 255.0)
INVERSION = PixelChange("inversion", factor=-1.0, offset=255.0)
CHANNELS = PixelChange("channel_order", reversed_channels=True)
DIGITS = (load_digits().images[..., None] * 15).astype(np.uint8)  # light on black
TRAIN, HELD_OUT = np.arange(1000, dtype=np.int32), np.arange(1000, 1600, dtype=np.int32)


class Images:
    """A source of batches from an array."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = tf.constant(images)

    def expect(self, rows: np.ndarray, batch_size: int) -> None:
        pass

    def pixels(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.images, rows)


def find(images: np.ndarray, change: PixelChange, held_out: np.ndarray = HELD_OUT) -> tuple[np.ndarray, float] | None:
    return find_altered(Images(images), TRAIN, held_out, change, RANGE)


def invert(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    changed = images.copy()
    changed[rows] = 255 - changed[rows]
    return changed


def color_digits() -> np.ndarray:
    """Give the digits colors, three quarters of which are warm."""
    draw = np.random.default_rng(0)
    red, blue = draw.uniform(0.5, 1, len(DIGITS)), draw.uniform(0, 0.7, len(DIGITS))
    tint = np.stack([red, (red + blue) / 2, blue], axis=1)
    return (DIGITS * tint[:, None, None]).astype(np.uint8)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_exactly_the_inverted_images_are_found(share):
    altered = np.random.default_rng(1).random(len(HELD_OUT)) < share
    found = find(invert(DIGITS, HELD_OUT[altered]), INVERSION)
    assert found is not None
    named, counted = found
    assert counted == pytest.approx(altered.mean(), abs=0.01)
    assert (named == altered).mean() > 0.99


def test_the_share_of_ambiguous_images_is_right_and_most_of_the_named_ones_were_changed():
    """Some digits are nearly as blue as red, so one in eight is taken for the other kind."""
    images, altered = color_digits(), np.random.default_rng(1).random(len(HELD_OUT)) < 0.25
    rows = HELD_OUT[altered]
    images[rows] = images[rows][..., ::-1]
    found = find(images, CHANNELS)
    assert found is not None
    named, share = found
    assert share == pytest.approx(altered.mean(), abs=0.05)
    assert altered[named].mean() > 0.88
    assert named[altered].mean() > 0.7


@pytest.mark.parametrize(("images", "change"), [(DIGITS, INVERSION), (color_digits(), CHANNELS)])
def test_nothing_is_found_among_images_like_those_of_training(images, change):
    assert find(images, change) is None


def test_one_inverted_image_in_fifty_may_be_chance_and_is_not_reported():
    assert find(invert(DIGITS, HELD_OUT[::50]), INVERSION) is None


def test_nothing_is_found_if_the_training_images_have_both_kinds():
    both = invert(DIGITS, np.arange(0, len(DIGITS), 2))
    assert find(invert(both, HELD_OUT[:300]), INVERSION) is None


def test_nothing_is_found_with_only_a_few_training_images():
    images = invert(DIGITS, HELD_OUT[:300])
    assert find_altered(Images(images), TRAIN[:10], HELD_OUT, INVERSION, RANGE) is None


def test_all_images_of_a_large_split_are_examined_if_a_sample_is_suspicious():
    rows = np.resize(HELD_OUT, 5000)
    found = find(invert(DIGITS, HELD_OUT[:300]), INVERSION, rows)
    assert found is not None
    named, _ = found
    assert len(named) == 5000
    assert named.mean() == pytest.approx(0.5, abs=0.04)
