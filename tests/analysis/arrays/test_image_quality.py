"""Blur, noise, compression and lost resolution are estimated from pixels, and nothing else is taken for them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits, load_sample_images

from analysis.arrays.image_quality import degrade, find_degradation


def cut_tiles(side: int, step: int) -> np.ndarray:
    """Cut photographs into tiles: (count, side, side, 3)."""
    photographs = load_sample_images().images
    return np.stack(
        [
            photograph[top : top + side, left : left + side]
            for photograph in photographs
            for top in range(0, photograph.shape[0] - side + 1, step)
            for left in range(0, photograph.shape[1] - side + 1, step)
        ]
    )


DIGITS = (load_digits().images[:400] * 15.9).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)[..., None]
# Photographs of 64 and of 160 pixels in color, and digits of 24 pixels in gray: a reference and other images of each.
SETS = {
    "tiles": (cut_tiles(64, 64)[::2], cut_tiles(64, 64)[1::2]),
    "large": (cut_tiles(160, 80)[::2], cut_tiles(160, 80)[1::2]),
    "digits": (DIGITS[:200], DIGITS[200:400]),
}


def change_pictures(images: np.ndarray, change) -> np.ndarray:
    pictures = [Image.fromarray(image[..., 0] if image.shape[2] == 1 else image) for image in images]
    return np.stack([np.asarray(change(picture)).reshape(images.shape[1:]) for picture in pictures])


def blur(images: np.ndarray, deviation: float) -> np.ndarray:
    return change_pictures(images, lambda picture: picture.filter(ImageFilter.GaussianBlur(deviation)))


def add_noise(images: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(5).normal(0, deviation, images.shape)
    return np.clip(images + noise, 0, 255).round().astype(np.uint8)


def compress(images: np.ndarray, quality: float) -> np.ndarray:
    def encode(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(quality))
        return Image.open(file)

    return change_pictures(images, encode)


def enlarge(images: np.ndarray, share: float) -> np.ndarray:
    def reduce(picture: Image.Image) -> Image.Image:
        small = picture.resize((round(picture.width * share), round(picture.height * share)), Image.Resampling.BILINEAR)
        return small.resize(picture.size, Image.Resampling.BILINEAR)

    return change_pictures(images, reduce)


CHANGES = {"blur": blur, "noise": add_noise, "compression": compress, "resolution": enlarge}


@pytest.mark.parametrize(
    ("images", "kind", "strength"),
    [
        ("tiles", "blur", 1.0),
        ("tiles", "blur", 2.5),
        ("tiles", "noise", 10.0),
        ("tiles", "compression", 30.0),
        ("tiles", "resolution", 0.5),
        ("large", "blur", 8.0),
        ("large", "noise", 20.0),
        ("large", "compression", 30.0),
        ("large", "resolution", 0.25),
        ("digits", "blur", 1.5),
        ("digits", "noise", 30.0),
        ("digits", "resolution", 0.5),
    ],
)
def test_kind_and_strength_are_estimated_from_other_images(images, kind, strength):
    reference, others = SETS[images]
    found = find_degradation(reference, CHANGES[kind](others, strength))
    assert found is not None
    assert found.kind == kind
    assert found.strength == pytest.approx(strength, rel=0.25)


@pytest.mark.parametrize("images", SETS)
@pytest.mark.parametrize(
    "change",
    [
        lambda images: images,
        lambda images: (images * 0.6).astype(np.uint8),
        lambda images: np.clip(images.astype(int) + 40, 0, 255).astype(np.uint8),
        lambda images: 255 - images,
        lambda images: images[:, ::-1],
        lambda images: np.roll(images, 3, axis=2),
    ],
)
def test_other_images_in_another_light_or_place_have_lost_nothing(images, change):
    reference, others = SETS[images]
    assert find_degradation(reference, change(others)) is None


def test_photographs_and_drawings_differ_in_more_than_quality():
    drawings = np.pad(DIGITS, ((0, 0), (20, 20), (20, 20), (0, 0))).repeat(3, axis=3)
    photographs = SETS["tiles"][0]
    assert find_degradation(photographs, drawings) is None
    assert find_degradation(drawings, photographs) is None


@pytest.mark.parametrize("kind", CHANGES)
def test_images_are_degraded_as_other_programs_do_it(kind):
    tiles, strength = SETS["tiles"][0], {"blur": 1.5, "noise": 8.0, "compression": 40.0, "resolution": 0.5}[kind]
    found = find_degradation(tiles, CHANGES[kind](SETS["tiles"][1], strength))
    assert found is not None
    made, expected = degrade(tiles, found).astype(float), CHANGES[kind](tiles, strength).astype(float)
    lost = np.abs(expected - tiles).mean()
    assert np.abs(made - expected).mean() < (1.6 if kind == "noise" else 0.5) * lost
    assert np.abs(made - tiles).mean() == pytest.approx(lost, rel=0.3)


def test_few_or_tiny_images_say_nothing():
    reference, others = SETS["tiles"]
    assert find_degradation(reference[:19], blur(others, 2.5)) is None
    assert find_degradation(reference[:, :8, :8], blur(others, 2.5)[:, :8, :8]) is None
