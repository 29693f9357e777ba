"""Facts that are recorded of an uploaded network for later changes, compared with Keras."""

import re
from pathlib import Path

import keras
import pytest
from keras import layers

from tests.worker.training.own_zoo import CLASSES, IMAGE, ZOO
from worker.training.uploaded_models.keras_model import read_keras_facts


def read(model: keras.Model, folder: Path):
    model.save(folder / "mine.keras")
    facts = read_keras_facts(folder / "mine.keras", max_parameters=None, note_calls=lambda calls: None).limit_layers()
    return type(facts).from_columns(*facts.to_columns()).network


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["mobilenet", "transformer"])
def test_the_cost_at_half_the_width_is_that_of_a_network_with_half_the_width(kind, tmp_path):
    [width] = ZOO[kind].__defaults__[:1]
    found, by_hand = read(ZOO[kind](), tmp_path).half, read(ZOO[kind](width // 2), tmp_path)
    counts = ("flops", "values", "largest", "head_inputs")
    assert {name: getattr(found, name) for name in counts} == {name: getattr(by_hand, name) for name in counts}
    assert [layer.parameters for layer in found.layers] == [layer.parameters for layer in by_hand.layers]


def test_all_layers_of_a_feature_map_are_halved(tmp_path):
    images = keras.Input((None, None, 3))
    found = read(keras.Model(images, layers.Conv2D(8, 3)(layers.Conv2D(4, 3)(images))), tmp_path)
    assert (found.head_inputs, found.half.head_inputs) == (8, 4)
    assert sum(layer.parameters for layer in found.half.layers) == (27 * 2 + 2) + (18 * 4 + 4)


def test_a_layer_that_does_not_fit_half_the_width_is_named(tmp_path):
    images = keras.Input(IMAGE)
    maps = layers.Conv2D(5, 3, activation="relu")(images)
    rows = layers.Reshape((14, 70), name="rows")(maps)
    found = read(keras.Model(images, layers.Dense(CLASSES)(layers.Flatten()(rows))), tmp_path)
    assert found.half is None
    assert found.half_refusal == "Layer `rows` (Reshape) does not fit layers of half the width."


def test_a_constant_of_the_whole_width_is_named(tmp_path):
    images = keras.Input(IMAGE)
    maps = layers.Conv2D(4, 3)(images) + keras.ops.arange(4, dtype="float32")
    found = read(keras.Model(images, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(maps))), tmp_path)
    assert re.fullmatch(r"Layer `add\w*` \(Add\) does not fit layers of half the width.", found.half_refusal)


def test_a_network_with_only_a_last_layer_cannot_be_halved(tmp_path):
    found = read(keras.Sequential([keras.Input(IMAGE), layers.Flatten(), layers.Dense(CLASSES)]), tmp_path)
    assert found.half_refusal == "Only its last layer has filters or units."


def test_dropout_and_penalties_of_the_model_are_recorded(tmp_path):
    parts = [keras.Input(IMAGE), layers.Flatten(), layers.Dropout(0.5), layers.Dense(4, kernel_regularizer="l2")]
    found = read(keras.Sequential([*parts, layers.Dense(CLASSES)]), tmp_path)
    assert (found.drops_out, found.penalizes) == (True, True)
    plain = read(keras.Sequential([keras.Input(IMAGE), layers.Flatten(), layers.Dense(CLASSES)]), tmp_path)
    assert (plain.drops_out, plain.penalizes) == (False, False)


def test_a_slice_beyond_half_the_width_is_named(tmp_path):
    images = keras.Input(IMAGE)
    maps = layers.Conv2D(8, 3)(images)
    last = keras.Model(images, layers.Dense(CLASSES)(layers.Flatten()(maps[..., 6:])))
    found = read(last, tmp_path)
    assert found.half is None
    assert found.half_refusal.endswith("(Dense) does not fit layers of half the width.")
