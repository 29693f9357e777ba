"""Random crops equal plain slices and Pillow's crops, and are part of the only resampling."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.stats import kstest

from heldout.spec.augmentation import AugmentationSpec, RandomCropSpec
from worker.training.augmentation.augment import (
    build_augmentation,
    draw_amounts,
    draw_changes,
    draw_crops,
    make_affine_matrices,
)

SHAPE = (13, 20, 3)
COUNT = 60


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((COUNT, *SHAPE), np.float32)


def change(images: np.ndarray, **spec) -> tuple[np.ndarray, AugmentationSpec]:
    augmentation = AugmentationSpec(**spec)
    rows = draw_changes(augmentation, images.shape[1:], seed=3, epoch=2, count=len(images))
    return tf.function(build_augmentation(augmentation, images.shape[1:]))(images, *rows).numpy(), augmentation


FILLS = [("constant", "constant"), ("nearest", "edge"), ("reflect", "symmetric")]


@pytest.mark.parametrize(("fill_mode", "pad"), FILLS)
def test_a_padded_crop_is_a_slice_of_the_padded_image(images, fill_mode, pad):
    result, spec = change(images, random_crop={"padding": 0.25}, fill_mode=fill_mode)
    rows, columns = 3, 5  # a quarter of the sides, in whole pixels
    padded = np.pad(images, [(0, 0), (rows, rows), (columns, columns), (0, 0)], mode=pad)
    drawn = draw_crops(spec.random_crop, SHAPE, seed=3, epoch=2, count=COUNT)
    across, down = drawn[:, 2].astype(int), drawn[:, 5].astype(int)
    assert (across.min(), across.max(), down.min(), down.max()) == (-columns, columns, -rows, rows)
    for image, seen, x, y in zip(padded, result, across + columns, down + rows, strict=True):
        np.testing.assert_array_equal(seen, image[y : y + SHAPE[0], x : x + SHAPE[1]])


def test_a_resized_crop_is_that_of_pillow(images):
    result, spec = change(images, random_crop={"name": "resized", "area": [0.1, 0.9]})
    drawn = draw_crops(spec.random_crop, SHAPE, seed=3, epoch=2, count=COUNT)
    zoom_x, left, zoom_y, top = drawn[:, 0], drawn[:, 2], drawn[:, 4], drawn[:, 5]
    left, top = left + 0.5 - zoom_x / 2, top + 0.5 - zoom_y / 2
    boxes = np.stack([left, top, left + zoom_x * SHAPE[1], top + zoom_y * SHAPE[0]], axis=1)
    np.testing.assert_allclose(boxes, boxes.round(), atol=1e-9)  # whole pixels
    for image, seen, box in zip(images, result, boxes.round().astype(int).tolist(), strict=True):
        for channel in range(3):
            plane = Image.fromarray(image[..., channel])
            expected = plane.resize((SHAPE[1], SHAPE[0]), Image.Resampling.BILINEAR, box=box)
            np.testing.assert_allclose(seen[..., channel], np.asarray(expected), atol=2e-5)


def test_resized_crops_have_the_requested_areas_and_aspect_ratios():
    height, width = 900, 1100
    drawn = draw_crops(RandomCropSpec(name="resized", area=(0.1, 0.5)), (height, width, 1), seed=1, epoch=1, count=6000)
    share, aspect = drawn[:, 0] * drawn[:, 4], drawn[:, 4] * height / (drawn[:, 0] * width)
    assert kstest(share, "uniform", (0.1, 0.4)).pvalue > 0.01
    assert kstest(np.log(aspect), "uniform", (np.log(3 / 4), np.log(16 / 9))).pvalue > 0.01


def test_crops_repeat_for_the_same_seed_and_epoch():
    crop = RandomCropSpec()
    drawn = draw_crops(crop, SHAPE, seed=1, epoch=1, count=COUNT)
    np.testing.assert_array_equal(draw_crops(crop, SHAPE, seed=1, epoch=1, count=COUNT), drawn)
    assert (draw_crops(crop, SHAPE, seed=1, epoch=2, count=COUNT) != drawn).any()
    assert (draw_crops(crop, SHAPE, seed=2, epoch=1, count=COUNT) != drawn).any()


def test_a_crop_is_taken_before_the_image_turns_and_in_the_same_resampling(images):
    spec = AugmentationSpec(rotation_degrees=40, horizontal_flip=True, random_crop=RandomCropSpec(name="resized"))
    epoch = {"seed": 5, "epoch": 1, "count": COUNT}
    [rows] = draw_changes(spec, SHAPE, **epoch)
    crops = draw_crops(spec.random_crop, SHAPE, **epoch)
    turns = make_affine_matrices(draw_amounts(spec, SHAPE, **epoch), SHAPE)
    seen = np.array([2.0, 7.0])  # any pixel
    for row, crop, turn in zip(rows, crops, turns, strict=True):
        turned = turn[:6].reshape(2, 3) @ [*seen, 1]
        expected = crop[:6].reshape(2, 3) @ [*turned, 1]
        np.testing.assert_allclose(row[:6].reshape(2, 3) @ [*seen, 1], expected, atol=1e-3)
