"""The images that are found to be inverted or to have other channels, compared with those that are."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from worker.training.altered_images import Altered, find_altered
from worker.training.pixel_changes import PixelChange

RANGE = (0.0, 255.0)
INVERSION = PixelChange("inversion", factor=-1.0, offset=255.0)
CHANNELS = PixelChange("channel_order", reversed_channels=True)
DIGITS = (load_digits().images[..., None] * 15).astype(np.uint8)  # light on black
TRAIN, HELD_OUT = np.arange(1000, dtype=np.int32), np.arange(1000, 1600, dtype=np.int32)


class Images:
    """A source of these images."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = tf.constant(images)

    def expect(self, rows: np.ndarray, batch_size: int) -> None:
        pass

    def pixels(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.images, rows)


def found_in(images: np.ndarray, change: PixelChange, held_out: np.ndarray = HELD_OUT) -> Altered | None:
    return find_altered(Images(images), TRAIN, held_out, change, RANGE)


def inverted(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    changed = images.copy()
    changed[rows] = 255 - changed[rows]
    return changed


def colored() -> np.ndarray:
    """Digits in warm colors, three times in four."""
    draw = np.random.default_rng(0)
    red, blue = draw.uniform(0.5, 1, len(DIGITS)), draw.uniform(0, 0.7, len(DIGITS))
    tint = np.stack([red, (red + blue) / 2, blue], axis=1)
    return (DIGITS * tint[:, None, None]).astype(np.uint8)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_the_very_images_that_are_inverted_are_found(share):
    altered = np.random.default_rng(1).random(len(HELD_OUT)) < share
    found = found_in(inverted(DIGITS, HELD_OUT[altered]), INVERSION)
    assert found is not None
    assert found.share == pytest.approx(altered.mean(), abs=0.01)
    assert (found.images == altered).mean() > 0.99


def test_of_images_that_can_hardly_be_told_the_share_is_right_and_the_surest_are_named():
    """Some warm digits are nearly as blue as red: one in eight is taken for the other."""
    images, altered = colored(), np.random.default_rng(1).random(len(HELD_OUT)) < 0.25
    rows = HELD_OUT[altered]
    images[rows] = images[rows][..., ::-1]
    found = found_in(images, CHANNELS)
    assert found is not None
    assert found.share == pytest.approx(altered.mean(), abs=0.05)
    assert altered[found.images].mean() > 0.88
    assert found.images[altered].mean() > 0.7


@pytest.mark.parametrize(("images", "change"), [(DIGITS, INVERSION), (colored(), CHANNELS)])
def test_nothing_is_found_among_images_like_those_of_training(images, change):
    assert found_in(images, change) is None


def test_nothing_is_found_where_one_inverted_image_in_fifty_may_be_chance():
    assert found_in(inverted(DIGITS, HELD_OUT[::50]), INVERSION) is None


def test_nothing_is_found_where_training_itself_has_both_kinds():
    both = inverted(DIGITS, np.arange(0, len(DIGITS), 2))
    assert found_in(inverted(both, HELD_OUT[:300]), INVERSION) is None


def test_nothing_is_learned_from_a_few_images():
    images = inverted(DIGITS, HELD_OUT[:300])
    assert find_altered(Images(images), TRAIN[:10], HELD_OUT, INVERSION, RANGE) is None


def test_all_images_of_a_large_split_are_looked_at_where_a_sample_is_suspicious():
    rows = np.resize(HELD_OUT, 5000)
    found = found_in(inverted(DIGITS, HELD_OUT[:300]), INVERSION, rows)
    assert found is not None
    assert len(found.images) == 5000
    assert found.images.mean() == pytest.approx(0.5, abs=0.04)
