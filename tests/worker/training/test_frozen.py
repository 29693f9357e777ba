"""Networks are divided after their last frozen weights, and both parts together are the network."""

from functools import partial

import keras
import numpy as np
import pytest

from tests.worker.training import own_zoo
from worker.training.frozen import split_at_frozen
from worker.training.own_network import list_steps

MAKERS = [getattr(own_zoo, name) for name in dir(own_zoo) if name.startswith("make_")]


def chain(*given: keras.layers.Layer) -> keras.Model:
    images = maps = keras.Input((8, 8, 3))
    for layer in given:
        maps = layer(maps)
    return keras.Model(images, maps)


def conv(name: str, *, trainable: bool = False) -> keras.layers.Layer:
    return keras.layers.Conv2D(3, 3, padding="same", name=name, trainable=trainable)


def list_names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_both_parts_give_the_network_s_answers_with_its_variables(make):
    made = make()
    network = keras.Model(made.inputs[0], made(made.inputs[0])) if isinstance(made, keras.Sequential) else made
    weighted = [step for step in list_steps(network) if isinstance(step, keras.Layer) and step.weights]
    divided = 0
    for count in (1, len(weighted) // 2, len(weighted) - 1):
        for number, layer in enumerate(weighted):
            layer.trainable = number >= count
        split = split_at_frozen(network)
        if split is None:
            continue
        divided += 1
        images = np.random.default_rng(1).random((2, *network.input_shape[1:])).astype(np.float32)
        answers = split.head(split.fixed(images, training=False), training=False)
        np.testing.assert_allclose(answers, network(images, training=False), atol=1e-6)
        assert list(map(id, split.frozen.weights + split.head.weights)) == list(map(id, network.weights))
        assert not split.frozen.trainable_variables
        assert list(map(id, split.head.trainable_variables)) == list(map(id, network.trainable_variables))
    assert divided


def test_layers_without_weights_belong_to_the_head():
    split = split_at_frozen(
        chain(conv("one"), keras.layers.ReLU(name="relu"), keras.layers.Flatten(name="flat"), keras.layers.Dense(2))
    )
    assert list_names(split.frozen) == ["one"]
    assert list_names(split.head)[:2] == ["relu", "flat"]


def test_global_pooling_is_computed_once_and_features_are_those_of_other_heads():
    layers = conv("one"), keras.layers.GlobalAveragePooling2D(name="pool"), keras.layers.Dense(2, name="dense")
    split = split_at_frozen(chain(*layers))
    assert list_names(split.frozen) == ["one"]
    assert list_names(split.pool) == ["pool"]
    assert list_names(split.head) == ["dense"]


def test_global_pooling_is_found_inside_an_inner_model():
    inner = chain(conv("one"), keras.layers.GlobalAveragePooling2D(name="pool"), keras.layers.Dense(2, name="dense"))
    images = keras.Input((8, 8, 3))
    split = split_at_frozen(keras.Model(images, inner(keras.layers.Rescaling(2.0)(images))))
    assert list_names(split.pool) == ["pool"]
    assert list_names(split.head) == ["dense"]


def test_a_network_is_divided_only_where_one_tensor_passes():
    images = keras.Input((8, 8, 3))
    first = conv("first")(images)
    second = conv("second")(first)
    added = keras.layers.Add()([conv("trained", trainable=True)(second), first])
    split = split_at_frozen(keras.Model(images, added))
    assert list_names(split.frozen) == ["first"]


def test_a_layer_that_is_called_again_later_is_not_cut_off():
    shared, images = conv("shared"), keras.Input((8, 8, 3))
    later = shared(conv("trained", trainable=True)(shared(conv("first")(images))))
    split = split_at_frozen(keras.Model(images, later))
    assert list_names(split.frozen) == ["first"]


# Made in the test: a layer with a seed has a variable, and these begin TensorFlow's threads.
@pytest.mark.parametrize(
    "kind", [keras.layers.RandomFlip, partial(keras.layers.GaussianNoise, 0.1)], ids=["flip", "noise"]
)
def test_what_changes_images_at_random_stays_in_each_step(kind):
    assert split_at_frozen(chain(kind(), conv("one"), conv("two", trainable=True))) is None


def test_a_network_without_frozen_weights_is_not_divided():
    assert split_at_frozen(chain(keras.layers.Rescaling(2.0), conv("one", trainable=True))) is None
