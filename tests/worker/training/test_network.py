"""Networks have exactly the layers that the spec describes, as counted by Keras."""

import re
from math import prod

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from heldout.errors import NetworkTooDeep
from heldout.spec.layers import plan_network
from heldout.spec.network import BlockSpec, DenseSpec, NetworkSpec
from worker.training.networks.network import build_network, drop_penalties

ACTIVATIONS = st.sampled_from(["relu", "elu", "gelu", "silu", "tanh"])
RATES = st.sampled_from([0.0, 0.0, 0.3])
PENALTIES = st.sampled_from([None, 0.0, 0.01])
BLOCKS = st.builds(
    BlockSpec,
    filters=st.integers(1, 9),
    kernel_size=st.integers(1, 6),
    padding=st.sampled_from(["valid", "same"]),
    strides=st.sampled_from([1, 1, 2, 3, 4]),
    activation=ACTIVATIONS,
    norm=st.sampled_from(["none", "batch", "layer", "group"]),
    repeat=st.sampled_from([1, 1, 1, 2, 3]),
    pool=st.integers(1, 4),
    pool_type=st.sampled_from(["max", "average"]),
    dropout=RATES,
    l2=PENALTIES,
)
COUNTED = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
RESIDUAL_BLOCKS = BLOCKS.map(lambda block: block.model_copy(update={"residual": True, "padding": "same"}))
DENSE = st.builds(DenseSpec, units=st.integers(1, 40), activation=ACTIVATIONS, dropout=RATES, l2=PENALTIES)
IMAGES = st.tuples(st.integers(1, 33), st.integers(1, 33), st.sampled_from([1, 3]))
CHEAP = settings(
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # shrinking would build thousands of networks
)


def draw_networks(most_blocks: int) -> st.SearchStrategy[NetworkSpec]:
    return st.builds(
        NetworkSpec,
        blocks=st.lists(BLOCKS | RESIDUAL_BLOCKS, min_size=1, max_size=most_blocks).map(tuple),
        l2=st.sampled_from([0.0, 0.01]),
        head=st.sampled_from(["flatten", "global_average"]),
        dense=st.lists(DENSE, max_size=2).map(tuple),
    )


def assert_keras_agrees(network: NetworkSpec, image: tuple[int, int, int], classes: int) -> None:
    try:
        plan = plan_network(network, image, classes)
    except NetworkTooDeep:
        with pytest.raises(ValueError, match=r"negative|at least|Computed output size"):
            build_network(network, image, classes, seed=1)
        return
    model = build_network(network, image, classes, seed=1)
    built = [
        (layer.name, layer.output.shape[1:], layer.count_params(), [weight.shape for weight in layer.weights])
        for layer in model.layers[1:]
    ]
    planned = [(layer.name, layer.shape, layer.parameters, list(layer.weights)) for layer in plan.layers]
    assert built == planned
    assert model.count_params() == plan.parameters
    trained = sum(weight.numpy().size for weight in model.trainable_weights)
    assert trained == plan.trainable_parameters()


@settings(CHEAP, max_examples=40)
@given(draw_networks(most_blocks=2), IMAGES, st.integers(2, 12))
def test_keras_builds_the_planned_layers_with_their_names_shapes_and_parameters(network, image, classes):
    assert_keras_agrees(network, image, classes)


@settings(CHEAP, max_examples=8)
@given(draw_networks(most_blocks=3), IMAGES, st.integers(2, 12))
def test_the_operations_of_convolutions_and_dense_layers_are_those_that_tensorflow_counts(network, image, classes):
    try:
        plan = plan_network(network, image, classes)
    except NetworkTooDeep:
        return
    model = build_network(network, image, classes, seed=1)
    graph = tf.function(lambda images: model(images, training=False), autograph=False).get_concrete_function(
        tf.TensorSpec((1, *image), tf.float32)
    )
    for kind, names in (("Conv2D", "_conv"), ("MatMul", "dense|output")):
        options = COUNTED | {"account_type_regexes": [kind]}
        counted = tf.compat.v1.profiler.profile(graph.graph, cmd="op", options=options).total_float_ops
        layers = [layer for layer in plan.layers if re.search(names, layer.name) and layer.parameters]
        # TensorFlow adds biases by operations of their own.
        assert counted == sum(layer.flops - prod(layer.shape) for layer in layers)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@settings(CHEAP, max_examples=5000)
@given(draw_networks(most_blocks=8), IMAGES, st.integers(2, 12))
def test_keras_builds_the_planned_layers_of_thousands_of_deeper_networks(network, image, classes):
    assert_keras_agrees(network, image, classes)


def make_varied_network() -> NetworkSpec:
    return NetworkSpec(
        blocks=(BlockSpec(filters=4, batch_norm=True, dropout=0.2, repeat=2), BlockSpec(filters=6, l2=0.5)),
        l2=0.01,
        dense=(DenseSpec(units=12, l2=0.1, dropout=0.3), DenseSpec(units=7)),
    )


def test_the_seed_decides_every_initial_weight_and_every_dropout_seed():
    first, again, other = (build_network(make_varied_network(), (16, 16, 3), 5, seed) for seed in (3, 3, 4))
    for variable, repeated in zip(first.variables, again.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), repeated.numpy())
    drawn = [
        (variable.numpy(), of_other.numpy())
        for variable, of_other in zip(first.variables, other.variables, strict=True)
        if variable.path.endswith(("kernel", "seed_generator_state"))
    ]
    assert len(drawn) == 6 + 2
    assert not any(np.array_equal(*pair) for pair in drawn)


def test_layers_of_the_same_shape_start_with_different_weights():
    network = NetworkSpec(blocks=(BlockSpec(filters=4, pool=1, repeat=3, padding="same"),))
    kernels = [layer.kernel.numpy() for layer in build_network(network, (8, 8, 4), 4, seed=0).layers[1::2][:3]]
    assert not np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])


def test_penalties_apply_to_kernels_of_convolutions_and_to_dense_layers_that_ask_for_them():
    model = build_network(make_varied_network(), (16, 16, 3), 5, seed=0)
    factors = {"block1_conv1": 0.01, "block1_conv2": 0.01, "block2_conv1": 0.5, "dense1": 0.1}
    expected = sum(factor * np.sum(model.get_layer(name).kernel.numpy() ** 2) for name, factor in factors.items())
    assert len(model.losses) == len(factors)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_a_network_without_penalties_has_the_same_layers_and_no_losses():
    plain = drop_penalties(make_varied_network())
    assert plan_network(plain, (16, 16, 3), 5) == plan_network(make_varied_network(), (16, 16, 3), 5)
    assert build_network(plain, (16, 16, 3), 5, seed=0).losses == []


def test_batch_normalization_is_between_a_convolution_with_bias_and_its_activation():
    model = build_network(make_varied_network(), (16, 16, 3), 5, seed=0)
    names = [layer.name for layer in model.layers]
    at = names.index("block1_norm1")
    assert names[at - 1 : at + 2] == ["block1_conv1", "block1_norm1", "block1_activation1"]
    assert model.get_layer("block1_conv1").use_bias
    assert model.get_layer("block1_conv1").activation is keras.activations.linear


def test_the_output_is_logits():
    model = build_network(make_varied_network(), (16, 16, 3), 5, seed=0)
    assert model.output_shape == (None, 5)
    assert model.layers[-1].activation is keras.activations.linear
