"""Networks are split after their last frozen weights, and both parts together equal the network."""

from functools import partial

import keras
import numpy as np
import pytest

from tests.worker.training import own_zoo
from worker.training.networks.frozen import split_at_frozen
from worker.training.networks.own_network import list_steps


def make_chain(*given: keras.layers.Layer) -> keras.Model:
    images = maps = keras.Input((8, 8, 3))
    for layer in given:
        maps = layer(maps)
    return keras.Model(images, maps)


def make_conv(name: str, *, trainable: bool = False) -> keras.layers.Layer:
    return keras.layers.Conv2D(3, 3, padding="same", name=name, trainable=trainable)


def list_names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]


@pytest.mark.parametrize("kind", own_zoo.each_of("mobilenet"))
def test_both_parts_together_have_the_answers_and_variables_of_the_network(kind):
    network = own_zoo.ZOO[kind]()
    if isinstance(network, keras.Sequential):
        network = keras.Model(network.inputs[0], network(network.inputs[0]))
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
        make_chain(
            make_conv("one"), keras.layers.ReLU(name="relu"), keras.layers.Flatten(name="flat"), keras.layers.Dense(2)
        )
    )
    assert list_names(split.frozen) == ["one"]
    assert list_names(split.head)[:2] == ["relu", "flat"]


def test_features_come_before_global_pooling_which_is_computed_once():
    layers = make_conv("one"), keras.layers.GlobalAveragePooling2D(name="pool"), keras.layers.Dense(2, name="dense")
    split = split_at_frozen(make_chain(*layers))
    assert list_names(split.frozen) == ["one"]
    assert list_names(split.pool) == ["pool"]
    assert list_names(split.head) == ["dense"]


def test_global_pooling_is_found_inside_an_inner_model():
    inner = make_chain(
        make_conv("one"), keras.layers.GlobalAveragePooling2D(name="pool"), keras.layers.Dense(2, name="dense")
    )
    images = keras.Input((8, 8, 3))
    split = split_at_frozen(keras.Model(images, inner(keras.layers.Rescaling(2.0)(images))))
    assert list_names(split.pool) == ["pool"]
    assert list_names(split.head) == ["dense"]


def test_a_network_is_split_only_where_a_single_tensor_passes():
    images = keras.Input((8, 8, 3))
    first = make_conv("first")(images)
    second = make_conv("second")(first)
    added = keras.layers.Add()([make_conv("trained", trainable=True)(second), first])
    split = split_at_frozen(keras.Model(images, added))
    assert list_names(split.frozen) == ["first"]


def test_a_split_keeps_all_calls_of_a_shared_layer_together():
    shared, images = make_conv("shared"), keras.Input((8, 8, 3))
    later = shared(make_conv("trained", trainable=True)(shared(make_conv("first")(images))))
    split = split_at_frozen(keras.Model(images, later))
    assert list_names(split.frozen) == ["first"]


# Layers are created in the test, because a layer with a seed has a variable, which starts TensorFlow's threads.
@pytest.mark.parametrize(
    "kind", [keras.layers.RandomFlip, partial(keras.layers.GaussianNoise, 0.1)], ids=["flip", "noise"]
)
def test_random_changes_of_images_stay_in_each_step(kind):
    assert split_at_frozen(make_chain(kind(), make_conv("one"), make_conv("two", trainable=True))) is None


def test_a_network_without_frozen_weights_is_not_split():
    assert split_at_frozen(make_chain(keras.layers.Rescaling(2.0), make_conv("one", trainable=True))) is None
