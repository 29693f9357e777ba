"""Changes of a user's network, compared with the same network written by hand in Keras."""

import json
from copy import deepcopy

import keras
import numpy as np
import pytest
from keras import layers

from tests.worker.training.own_zoo import CLASSES, IMAGE, ZOO, Drop, each_of
from worker.training.model_files.keras_config import read_network
from worker.training.model_files.keras_file import build_model
from worker.training.model_files.keras_parts import iterate_parts
from worker.training.networks.own_changes import add_dropout, add_l2, drops_out, halve_width, penalizes, replace_head

RATE, FACTOR = 0.25, 0.01
# Masks follow from the seed and the shape alone, so equal places give equal masks.
DROP = Drop(RATE)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).random((8, *IMAGE), np.float32)


def read(model: keras.Model) -> dict:
    """Read the network from its `config.json`."""
    return read_network(json.loads(json.dumps(keras.saving.serialize_keras_object(model))))


def build(config: dict) -> keras.Model:
    return build_model(read_network(json.loads(json.dumps(config))))


def answer(model: keras.Model, images: np.ndarray, *, training: bool = False) -> np.ndarray:
    """Return the answers of the model with weights and masks that depend only on their order and shapes."""
    config = read(model)
    for part in iterate_parts(config):
        if "seed" in part["config"]:
            part["config"]["seed"] = 3
    model = build(config)
    draw = np.random.default_rng(2)
    model.set_weights([draw.uniform(0.1, 0.3, weight.shape).astype(np.float32) for weight in model.get_weights()])
    return np.asarray(model(images, training=training))


def describe_weights(model: keras.Model) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in model.weights]


@pytest.mark.parametrize("kind", each_of())
def test_dropout_is_added_where_people_write_it(kind, images):
    config = read(ZOO[kind]())
    changed, by_hand = build(add_dropout(config, RATE)), ZOO[kind](drop=DROP)
    assert describe_weights(changed) == describe_weights(by_hand)
    assert np.array_equal(answer(changed, images), answer(by_hand, images))
    dropped = answer(changed, images, training=True)
    assert np.array_equal(dropped, answer(by_hand, images, training=True))
    assert not np.array_equal(dropped, answer(build(config), images, training=True))
    # It is added once, and not where a network has its own.
    once, own = add_dropout(config, RATE), read(by_hand)
    assert (add_dropout(once, RATE), add_dropout(own, 0.5)) == (once, own)


@pytest.mark.parametrize("kind", each_of())
def test_only_kernels_are_penalized(kind):
    changed = build(add_l2(read(ZOO[kind]()), FACTOR))
    kernels = [weight for weight in changed.weights if weight.path.rpartition("/")[2].endswith("kernel")]
    assert len(kernels) == len(changed.losses)
    wanted = sum(FACTOR * float(np.square(kernel.numpy()).sum()) for kernel in kernels)
    assert sum(map(float, changed.losses)) == pytest.approx(wanted, rel=1e-5)


def test_a_layer_keeps_its_own_penalty():
    images = keras.Input(IMAGE)
    maps = layers.Conv2D(4, 3, kernel_regularizer=keras.regularizers.L1(0.5))(images)
    model = build(add_l2(read(keras.Model(images, layers.Dense(5)(layers.Flatten()(maps)))), FACTOR))
    convolution, dense = (layer for layer in model.layers if layer.weights)
    assert isinstance(convolution.kernel_regularizer, keras.regularizers.L1)
    assert dense.kernel_regularizer.l2 == FACTOR


@pytest.mark.parametrize("kind", each_of("squeezed", "grouped"))
def test_half_the_width_is_the_network_written_with_half_the_width(kind, images):
    [width] = ZOO[kind].__defaults__[:1]
    changed, by_hand = build(halve_width(read(ZOO[kind]()))), ZOO[kind](width // 2)
    assert describe_weights(changed) == describe_weights(by_hand)
    assert changed.output_shape == (None, CLASSES)
    assert np.array_equal(answer(changed, images), answer(by_hand, images))


@pytest.mark.parametrize("kind", ["transformer", "nested"])
def test_changes_combine_and_do_not_modify_their_input(kind, images):
    config = read(ZOO[kind]())
    before = deepcopy(config)
    [width] = ZOO[kind].__defaults__[:1]
    changed = build(add_l2(add_dropout(halve_width(config), RATE), FACTOR))
    assert config == before
    assert np.array_equal(
        answer(changed, images, training=True), answer(ZOO[kind](width // 2, DROP), images, training=True)
    )
    names = [layer.name for layer in changed.layers]
    assert len(names) == len(set(names))


def test_a_shared_layer_is_followed_by_dropout_at_each_call(images):
    pool, first, second = layers.MaxPooling2D(), layers.Conv2D(4, 3, padding="same"), layers.Conv2D(4, 3)

    def make(drop):
        given = keras.Input(IMAGE)
        maps = drop(pool(second(drop(pool(first(given))))))
        return keras.Model(given, layers.Dense(CLASSES)(layers.Flatten()(maps)))

    changed, by_hand = build(add_dropout(read(make(lambda tensor: tensor)), RATE)), make(DROP)
    assert [layer.name for layer in changed.layers if isinstance(layer, layers.Dropout)] == [
        f"{pool.name}_dropout",
        f"{pool.name}_dropout_2",
    ]
    assert np.array_equal(answer(changed, images, training=True), answer(by_hand, images, training=True))


@pytest.mark.parametrize("kind", ["inception", "transformer", "nested", "ops"])
def test_the_last_dense_layer_gets_another_number_of_classes(kind):
    before = ZOO[kind]()
    changed = build(replace_head(read(before), 7, gives_map=False))
    assert changed.output_shape == (None, 7)
    assert describe_weights(changed)[:-2] == describe_weights(before)[:-2]


@pytest.mark.parametrize("chain", [True, False])
def test_a_feature_map_gets_an_output_and_every_layer_before_it_is_changed(chain, images):
    def make(width=8, drop=None):
        given = keras.Input(IMAGE)
        parts = [layers.Conv2D(width, 3), layers.MaxPooling2D(2), drop, layers.Conv2D(2 * width, 3)]
        head = [layers.GlobalAveragePooling2D(), drop, layers.Dense(7)] if drop else []
        parts = [part for part in [*parts, *head] if part is not None]
        if chain:
            return keras.Sequential([given, *(part() if part is drop else part for part in parts)])
        maps = given
        for part in parts:
            maps = part()(maps) if part is drop else part(maps)
        return keras.Model(given, maps)

    whole = replace_head(read(make()), 7, gives_map=True)
    changed = build(add_dropout(halve_width(whole), RATE))
    by_hand = make(4, lambda: layers.Dropout(RATE))
    assert np.array_equal(answer(changed, images, training=True), answer(by_hand, images, training=True))


def test_a_new_head_takes_the_output_of_an_inner_network_that_comes_last():
    """In the outputs of a network, Keras counts the calls of an inner functional network from 1."""
    inside = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    pixels = keras.Input((32, 32, 3))
    config = read_network(json.loads(keras.Model(pixels, inside(layers.Rescaling(2, -1)(pixels))).to_json()))
    built = build_model(read_network(replace_head(config, CLASSES, gives_map=True)))
    assert built.output_shape == (None, CLASSES)
    assert built.count_params() == inside.count_params() + (1280 + 1) * CLASSES


def test_dropout_and_penalties_of_a_network_are_recognized():
    plain = read(ZOO["transformer"]())
    assert not drops_out(plain)
    assert not penalizes(plain)
    assert drops_out(add_dropout(plain, RATE))
    assert penalizes(add_l2(plain, FACTOR))
    images = keras.Input((4, 4))
    attention = layers.MultiHeadAttention(1, 4, dropout=0.1, bias_regularizer="l1")(images, images)
    assert drops_out(read(keras.Model(images, attention)))
    assert penalizes(read(keras.Model(images, attention)))
    assert not drops_out(read(keras.Sequential([images, layers.Dropout(0.0)])))
