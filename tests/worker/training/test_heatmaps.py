"""Heatmaps are what their formula says, and point at the object that decides the class."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import spearmanr

from analysis.arrays.dataset import ImageSet
from analysis.arrays.heatmaps import enlarge
from heldout.spec.job import JobSpec
from tests.worker.training.backbones import read_again, small_backbone
from tests.worker.training.trainings import Training, small_spec
from worker.training.data.training_data import select
from worker.training.exports.exported_model import build_exported
from worker.training.measuring.heatmap import compute_heatmaps
from worker.training.networks.network import build_network

SIDE, BOX, CLASSES, BRIGHT = 32, 7, 3, 230


def make_model(network: dict[str, Any], images: ImageSet, **parts: Any) -> keras.Model:
    """Build a job's model with fresh weights."""
    spec = small_spec(network={"blocks": [], **network})
    data = select(images, spec)
    trained = build_network(spec.network, data.image, len(data.classes), 3, **parts)
    return build_exported(spec.network, data, trained, **parts)


def differentiate_by_tape(
    model: keras.Model,
    maps: keras.KerasTensor,
    image: np.ndarray,
    label: int,
    logits: keras.KerasTensor | None = None,
) -> np.ndarray:
    """Compute LayerCAM by its definition, cell by cell.

    Args:
        maps, logits: tensors of the model. Without logits, its last layer is their softmax.
    """
    logits = model.layers[-1].input if logits is None else logits
    until, after = keras.Model(model.inputs[0], maps), keras.Model(maps, logits)
    values = until(image[np.newaxis])
    with tf.GradientTape() as tape:
        tape.watch(values)
        score = after(values)[0, label]
    gradient, values = tape.gradient(score, values).numpy()[0], values.numpy()[0]
    rows, columns, channels = values.shape
    expected = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            cell = sum(
                max(gradient[row, column, channel], 0) * values[row, column, channel] for channel in range(channels)
            )
            expected[row, column] = max(cell, 0)
    return expected


@pytest.mark.parametrize(
    ("network", "chosen"),
    [
        ({"blocks": [{"filters": 4, "padding": "same"}, {"filters": 5, "padding": "same"}]}, "block2_pool"),
        # Two more poolings leave 3×3 and 1×1: too coarse to point at anything.
        ({"blocks": [{"filters": 4, "padding": "same"}] * 4}, "block3_activation1"),
        (
            {"blocks": [{"filters": 6, "padding": "same", "norm": "batch", "residual": True, "repeat": 2}]},
            "block1_pool",
        ),
        ({"blocks": [{"filters": 4, "activation": "gelu", "dropout": 0.3}], "dense": [{"units": 8}]}, "block1_dropout"),
    ],
)
def test_a_heatmap_is_layer_cam_at_the_last_layer_whose_map_is_not_too_coarse(network, chosen, mnist5k):
    model = make_model(network, mnist5k)
    image = mnist5k.images[7].astype(np.float32)
    found = compute_heatmaps(model, image, [3, 8])
    maps = model.get_layer(chosen).output
    for label, heat in zip([3, 8], found, strict=True):
        expected = differentiate_by_tape(model, maps, image, label)
        assert expected.max() > 0
        np.testing.assert_allclose(heat, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_maps_inside_a_backbone_are_found_and_images_before_it_are_none(tmp_path, mnist5k):
    """The uploaded network is one layer of the model; before it, images are enlarged and get colors."""
    backbone = read_again(small_backbone(tmp_path))
    model = make_model({"backbone": {"model": "mod_1"}}, mnist5k, backbone=backbone)
    image = mnist5k.images[7].astype(np.float32)
    expected = differentiate_by_tape(model, model.get_layer("flatten").input, image, 3)
    assert expected.shape == (10, 9)
    np.testing.assert_allclose(compute_heatmaps(model, image, [3])[0], expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_maps_of_an_uploaded_network_are_found(tmp_path, mnist5k):
    """Its own softmax is not part of what is explained."""
    pixels = keras.Input((28, 28, 1))
    maps = keras.layers.Conv2D(5, 3, activation="relu", name="mine")(keras.layers.Rescaling(1 / 255)(pixels))
    answers = keras.layers.Dense(10, activation="softmax")(keras.layers.GlobalAveragePooling2D()(maps))
    own = keras.Model(pixels, answers)
    own.save(tmp_path / "own.keras")
    spec = JobSpec.model_validate({"dataset": "mnist5k", "network": {"model": "mod_1", "weights": "uploaded"}})
    backbone, data = read_again(tmp_path / "own.keras"), select(mnist5k, spec)
    trained = build_network(spec.network, data.image, 10, 3, backbone=backbone)
    model = build_exported(spec.network, data, trained, backbone=backbone)
    image = mnist5k.images[7].astype(np.float32)
    own.layers[-1].activation = keras.activations.linear
    expected = differentiate_by_tape(own, own.get_layer("mine").output, image, 3, own.outputs[0])
    [found] = compute_heatmaps(model, image, [3])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_small_images_use_their_largest_map(digits):
    model = make_model({"blocks": [{"filters": 4}, {"filters": 4, "padding": "same"}]}, digits)
    assert compute_heatmaps(model, digits.images[0].astype(np.float32), [1]).shape == (1, 6, 6)


def plant_objects(count: int, seed: int, *, is_cluttered: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw images in which the stripes of one bright square decide the class.

    Args:
        is_cluttered: whether the background is as bright as the square, and as varied. Otherwise it is dark, with two
            more bright squares that are the same in all classes.
    Returns:
        The images, their labels, and the top left corners of the deciding squares, (images, 2).
    """
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[:BOX, :BOX]
    deciding = [rows % 2 == 0, columns % 2 == 0, (rows + columns) % 3 == 0]
    ring = (np.minimum(rows, columns) == 0) | (np.maximum(rows, columns) == BOX - 1)
    shape = (count, SIDE, SIDE)
    images = draws.choice([0, BRIGHT], shape) if is_cluttered else draws.uniform(0, 80, shape)
    labels, corners = draws.integers(0, CLASSES, count), np.zeros((count, 2), int)
    for number in range(count):
        cells = draws.choice(16, 1 if is_cluttered else 3, replace=False)  # of a grid, so that none overlap
        for place, cell in enumerate(cells.tolist()):
            row, column = corner = np.array(divmod(cell, 4)) * 8 + draws.integers(0, 2, 2)
            inside = images[number, row : row + BOX, column : column + BOX]
            if place == 0:
                inside[:] = np.where(deciding[labels[number]], BRIGHT, inside if not is_cluttered else 0)
                corners[number] = corner
            else:
                inside[ring] = BRIGHT
    return images[..., np.newaxis].astype(np.uint8), labels.astype(np.int32), corners


def is_inside(heat: np.ndarray, corner: np.ndarray) -> bool:
    """Return whether the strongest place of a map lies in the square with this corner."""
    large = enlarge(heat, SIDE, SIDE)
    place = np.array(np.unravel_index(large.argmax(), large.shape))
    return bool(np.all((place >= corner) & (place < corner + BOX)))


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("head", "is_cluttered"), [("global_average", False), ("flatten", False), ("flatten", True)])
def test_the_strongest_place_lies_in_the_object_that_decides_and_a_random_network_looks_elsewhere(head, is_cluttered):
    """On a dark background, both networks see where the squares are. Only clutter shows that ranks differ."""
    images, labels, corners = plant_objects(2000, seed=1, is_cluttered=is_cluttered)
    splits = {"train": np.arange(1400), "validation": np.arange(1400, 1600), "test": np.arange(1600, 2000)}
    planted = ImageSet(images, labels, splits, ("rows", "columns", "diagonals"), (0, 255))
    blocks = [{"filters": 16, "padding": "same"}, {"filters": 32, "padding": "same"}]
    spec = small_spec(*blocks, network={"head": head}, training={"epochs": 12})
    training = Training(spec, planted)
    training.trainer.train()
    data = select(planted, spec)
    model = build_exported(spec.network, data, training.network)
    random = build_exported(spec.network, data, build_network(spec.network, data.image, CLASSES, 99))
    test = splits["test"]
    answers = model.predict(images[test].astype(np.float32), verbose=0).argmax(1)
    assert np.mean(answers == labels[test]) > 0.9, "the network has learned to tell the objects apart"
    hits, hits_of_random, ranks = [], [], []
    for index, answer in zip(test[:200], answers[:200], strict=True):
        heat, other = (
            compute_heatmaps(each, images[index].astype(np.float32), [answer])[0] for each in (model, random)
        )
        hits.append(is_inside(heat, corners[index]))
        hits_of_random.append(is_inside(other, corners[index]))
        ranks.append(spearmanr(heat.ravel(), other.ravel()).statistic)
    assert np.mean(hits_of_random) < 0.4
    if is_cluttered:
        assert np.mean(ranks) < 0.3
    else:
        assert np.mean(hits) >= 0.9
