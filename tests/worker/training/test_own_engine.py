"""The engine with users' networks gives the bits of Keras' `fit`, and divides batches among towers."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.applications.convnext import StochasticDepth

from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from tests.worker.training.own_zoo import CLASSES, IMAGE, ZOO, Drop
from tests.worker.training.test_engine import EPOCHS, compute_difference, compute_rates
from tests.worker.training.trainings import Training, scale_to_unit
from worker.training.engine.checkpoint import FitSums
from worker.training.engine.optimizer import build_loss, build_optimizer
from worker.training.engine.order import draw_epoch_order
from worker.training.engine.towers import can_divide
from worker.training.networks.backbone import UploadedBackbone
from worker.training.networks.own_network import build_own_network, find_output, list_steps

# Two full batches of 32, and one of 20.
COUNT = 84
SPEC = JobSpec.model_validate(
    {
        "dataset": "noise",
        "network": {"model": "mod_own"},
        "training": {"seed": 7, "batch_size": 32, "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}},
    }
)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    draws = np.random.default_rng(3)
    pixels = draws.integers(0, 256, (COUNT, *IMAGE), np.uint8)
    labels = draws.integers(0, CLASSES, COUNT, np.int32)
    rows = np.arange(COUNT)
    splits = {"train": rows, "validation": rows[:8], "test": rows[:8]}
    return ImageSet(pixels, labels, splits, tuple(map(str, range(CLASSES))), (0, 255))


def make_penalized(drop: Drop) -> keras.Model:
    """Make a network whose layers penalize their weights and their outputs."""
    taken = keras.Input(IMAGE)
    maps = layers.Conv2D(6, 3, kernel_regularizer="l2", activity_regularizer=keras.regularizers.L1(0.01))(taken)
    maps = layers.ActivityRegularization(l2=0.02)(layers.ReLU()(layers.BatchNormalization()(maps)))
    return keras.Model(taken, layers.Dense(CLASSES)(drop(layers.Flatten()(maps))))


def make_normalized(drop: Drop) -> keras.Model:
    """Make a network with batch normalization of maps, tokens and features, partly in inner models."""
    inside = keras.Sequential(
        [
            layers.Conv2D(8, 3, padding="same"),
            layers.BatchNormalization(scale=False),
            keras.Sequential([layers.ReLU(), layers.BatchNormalization(center=False)]),
        ]
    )
    taken = keras.Input(IMAGE)
    tokens = layers.BatchNormalization()(layers.Reshape((64, 32))(inside(taken)))
    features = layers.Dense(12)(layers.GlobalAveragePooling1D()(tokens))
    features = drop(layers.ReLU()(layers.BatchNormalization()(features)))
    return keras.Model(taken, layers.Dense(CLASSES)(features))


def make_of_zoo(name: str) -> Callable[[Drop], keras.Model]:
    """Return a function that makes a network of the zoo, up to its logits."""
    return lambda drop: find_output(ZOO[name](drop=drop)).logits


NETWORKS = {name: make_of_zoo(name) for name in ZOO} | {"penalized": make_penalized, "normalized": make_normalized}


def build(name: str, drop: float | None = None) -> keras.Model:
    keras.utils.set_random_seed(5)
    return NETWORKS[name](Drop(drop))


def train(training: Training, first: int = 1, last: int = EPOCHS) -> list[tuple[float, float]]:
    engine, history = training.engine, []
    for epoch in range(first, last + 1):
        engine.begin_epoch(epoch, compute_rates(training.spec, epoch, engine.steps_per_epoch))
        sums = engine.run(0, engine.steps_per_epoch, FitSums())
        history.append((sums.loss, sums.accuracy))
        training.evaluator.measure(training.data.rows["validation"])
    return history


def take_step(training: Training) -> float:
    training.engine.begin_epoch(1, compute_rates(training.spec, 1, training.engine.steps_per_epoch))
    return training.engine.run(0, 1, FitSums()).loss


def train_with_fit(network: keras.Model, training: Training) -> list[tuple[float, float]]:
    spec, data = training.spec, training.data
    network.compile(build_optimizer(spec.training.optimizer), build_loss(0.0), metrics=["accuracy"])
    pixels, history = scale_to_unit(data.images, data.value_range), []
    for epoch in range(1, EPOCHS + 1):
        order = data.rows["train"][draw_epoch_order(spec.training.seed or 0, epoch, COUNT)]
        given = network.fit(pixels[order], data.labels[order], batch_size=32, shuffle=False, verbose=0).history
        history.append((given["loss"][0], given["accuracy"][0]))
    return history


def make_proofs(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.proof) for name in names]


@pytest.mark.parametrize(
    "name",
    ["penalized", "normalized", *make_proofs(["transformer", "resnet", "mobilenet", "nested"])],
)
def test_one_tower_gives_the_bits_of_fit(name, images):
    training = Training(SPEC, images, network=build(name, drop=0.2))
    history = train(training)
    reference = build(name, drop=0.2)
    assert history == train_with_fit(reference, training)
    assert compute_difference(training.network, reference) == 0


def test_sixteen_bits_are_those_of_fit(images):
    """Keras' own policy gives the same bits, with float32 weights and logits."""
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(ZOO["inception"]())))
    uploaded = UploadedBackbone(config, [], "unit", gives_map=False)
    ours, reference = (
        build_own_network(SPEC.network, uploaded, IMAGE, CLASSES, iter(range(99)), "mixed_bfloat16") for _ in range(2)
    )
    training = Training(SPEC, images, network=ours)
    assert {layer.compute_dtype for layer in ours.layers if "conv" in layer.name} == {"bfloat16"}
    assert {weight.dtype for weight in ours.weights} == {ours.output.dtype} == {"float32"}
    assert train(training) == train_with_fit(reference, training)
    assert compute_difference(ours, reference) == 0


@pytest.mark.parametrize(
    "name",
    ["nested", *make_proofs(["normalized", *(name for name in ZOO if name != "nested")])],
)
def test_parts_of_a_batch_train_like_the_whole(name, images):
    assert can_divide(list_steps(build(name)))
    whole, parts = (Training(SPEC, images, network=build(name), towers=towers) for towers in (1, 3))
    np.testing.assert_allclose(take_step(parts), take_step(whole), rtol=1e-5)
    assert compute_difference(whole.network, parts.network) < 1e-5


def test_a_batch_with_fewer_images_than_parts_trains_like_the_whole(images):
    pair = replace(images, splits=images.splits | {"train": np.arange(2)})
    whole, parts = (Training(SPEC, pair, network=build("normalized"), towers=towers) for towers in (1, 4))
    np.testing.assert_allclose(take_step(parts), take_step(whole), rtol=1e-5)
    assert compute_difference(whole.network, parts.network) < 1e-5


@pytest.mark.parametrize(
    "make",
    [
        lambda maps: layers.Conv2D(4, 3, activity_regularizer="l2")(maps),
        lambda maps: layers.BatchNormalization(axis=1)(maps),
        lambda maps: layers.SpectralNormalization(layers.Conv2D(4, 3))(maps),
        lambda maps: layers.Softmax(axis=0)(maps),
        lambda maps: maps - ops.mean(maps, axis=0, keepdims=True),
        lambda maps: maps - ops.mean(maps, axis=-4, keepdims=True),
        lambda maps: maps / ops.max(maps),
        lambda maps: ops.flip(maps, axis=0),
        lambda maps: ops.roll(maps, 1, axis=0),
        lambda maps: maps[::-1, ...],
        lambda maps: ops.reshape(maps, (-1, 4)),
        lambda maps: ops.cumsum(maps, axis=0),
    ],
)
def test_layers_that_combine_images_need_whole_batches(make):
    taken = keras.Input(IMAGE)
    assert not can_divide(list_steps(keras.Model(taken, make(taken))))


@pytest.mark.parametrize("name", ["normalized", *make_proofs(["transformer"])])
def test_a_restored_training_continues_bit_for_bit(name, images):
    uninterrupted, begun = (Training(SPEC, images, network=build(name, drop=0.3), towers=2) for _ in range(2))
    expected = train(uninterrupted)
    train(begun, last=1)
    keras.utils.set_random_seed(99)
    again = Training(SPEC, images, network=NETWORKS[name](Drop(0.3)), towers=2)
    again.engine.restore(begun.engine.state())
    assert train(again, first=2) == expected[1:]
    assert compute_difference(again.network, uninterrupted.network) == 0


def test_draws_from_the_global_generator_continue_bit_for_bit(images):
    def begin(seed: int) -> Training:
        keras.utils.set_random_seed(seed)
        taken = keras.Input(IMAGE)
        maps = StochasticDepth(0.5)(layers.Conv2D(4, 3)(taken))
        features = layers.Dense(CLASSES, kernel_initializer="zeros")(layers.Flatten()(maps))
        return Training(SPEC, images, network=keras.Model(taken, features))

    expected = train(begin(5))
    begun = begin(5)
    train(begun, last=1)
    state = begun.engine.state()
    again = begin(99)
    again.engine.restore(state)
    assert train(again, first=2) == expected[1:]
