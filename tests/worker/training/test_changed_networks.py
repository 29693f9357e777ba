"""A user's network with the changes that a spec asks for: plan, network and export agree."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from heldout.spec.backbone import make_own_network
from heldout.spec.layers import plan_network
from heldout.spec.network import OwnNetworkSpec
from tests.worker.training.backbones import read_again
from tests.worker.training.own_zoo import CLASSES, IMAGE, ZOO
from worker.training.networks.network import build_network
from worker.training.networks.own_network import describe_own_network
from worker.training.uploaded_models.child import read_facts

SEED = 3
CHANGES = {"width": 0.5, "dropout": 0.25, "l2": 0.01}


def save(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "mine.keras")
    return folder / "mine.keras"


def make_map(width: int = 8) -> keras.Model:
    """Make a network without its head."""
    images = keras.Input(IMAGE)
    maps = layers.MaxPooling2D()(layers.Conv2D(width, 3, activation="relu")(images))
    return keras.Model(images, layers.Conv2D(2 * width, 3, activation="relu")(maps))


def build(file: Path, classes: int = CLASSES, **changes) -> keras.Model:
    spec = OwnNetworkSpec(model="mod_1", **changes)
    network = build_network(spec, IMAGE, classes, SEED, backbone=read_again(file, "unit"))
    own, _ = make_own_network(spec, read_facts(file), IMAGE, classes)
    plan = plan_network(spec, IMAGE, classes, own)
    assert plan.parameters == network.count_params()
    assert plan.trainable_parameters() == sum(np.prod(weight.shape) for weight in network.trainable_weights)
    return network


def find_dropouts(network: keras.Model) -> list[keras.layers.Dropout]:
    return [layer for layer in network._flatten_layers() if isinstance(layer, layers.Dropout)]


@pytest.mark.parametrize("kind", ["mobilenet", "nested", "transformer"])
def test_a_plan_with_changes_is_what_keras_builds(kind, tmp_path):
    network = build(save(ZOO[kind](), tmp_path), **CHANGES)
    [width] = ZOO[kind].__defaults__[:1]
    assert network.count_params() == ZOO[kind](width // 2).count_params()
    assert {layer.rate for layer in find_dropouts(network)} - {0.0} == {0.25}
    assert network.losses


def test_adding_dropout_keeps_uploaded_weights(tmp_path):
    model = ZOO["mobilenet"]()
    images = np.random.default_rng(1).random((4, *IMAGE), np.float32)
    network = build(save(model, tmp_path), weights="uploaded", dropout=0.25)
    assert find_dropouts(network)
    assert np.array_equal(keras.ops.softmax(network(images)), model(images))


def test_changes_treat_the_new_head_of_a_feature_map_as_the_last_layer(tmp_path):
    network = build(save(make_map(), tmp_path), classes=7, head="replace", width=0.5, dropout=0.25)
    assert network.count_params() == make_map(4).count_params() + 8 * 7 + 7
    pool, head = find_dropouts(network)
    assert (pool.input.shape[1:], head.input.shape[1:]) == ((7, 7, 4), (8,))


def test_only_the_new_head_is_trained_if_the_weights_are_frozen(tmp_path):
    model = make_map()
    network = build(save(model, tmp_path), classes=7, head="replace", weights="uploaded", trainable=False, dropout=0.25)
    assert [tuple(weight.shape) for weight in network.trainable_weights] == [(16, 7), (7,)]
    for weight, uploaded in zip(network.get_weights(), model.get_weights(), strict=False):
        assert np.array_equal(weight, uploaded)


def test_the_same_seed_draws_the_same_new_head(tmp_path):
    file = save(make_map(), tmp_path)
    first, second = (build(file, head="replace").get_weights() for _ in range(2))
    assert all(map(np.array_equal, first, second))


@pytest.mark.parametrize(
    ("make", "head", "changes"),
    [
        (ZOO["squeezed"], "replace", CHANGES),
        (ZOO["nested"], "keep", CHANGES),
        (make_map, "replace", CHANGES),
        (make_map, "replace", {"weights": "uploaded"}),
    ],
)
def test_the_configuration_for_keras_is_the_network_that_was_trained(make, head, changes, tmp_path):
    file, classes = save(make(), tmp_path), CLASSES if head == "keep" else 7
    trained = build(file, classes, head=head, **changes)
    spec = OwnNetworkSpec(model="mod_1", head=head, **changes)
    again = keras.models.model_from_json(describe_own_network(spec, read_again(file, "unit"), classes))
    again.set_weights(trained.get_weights())
    images = np.random.default_rng(1).random((4, *IMAGE), np.float32)
    logits = trained(images)
    expected = keras.ops.softmax(logits) if head == "keep" else logits
    assert np.allclose(again(images), expected, atol=1e-6)
    assert sum(map(float, again.losses)) == pytest.approx(sum(map(float, trained.losses)))
    assert len(find_dropouts(again)) == len(find_dropouts(trained))
