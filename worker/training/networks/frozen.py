"""Divides a network at the end of its frozen part. Pure: nothing is computed, and both parts share its variables."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
from numpy.typing import NDArray

# Layers that change images at random. They end a frozen part; dropout in it is switched off instead.
NOISE = ("Random", "GaussianNoise")


@dataclass(frozen=True)
class FrozenSplit:
    """A network divided into consecutive parts.

    head: to logits, from features, or from what `pool` makes of them.
    make_frozen: returns `frozen`, which takes long to build if it is not needed.
    pool: global pooling of features. Networks with other heads need the features themselves.
    identity: a description of the frozen part as JSON, and its weights; None: those of `frozen`.
    """

    head: keras.Model
    make_frozen: Callable[[], keras.Model]
    pool: keras.Model | None = None
    identity: tuple[Any, list[NDArray[Any]]] | None = None

    @cached_property
    def frozen(self) -> keras.Model:
        """From images to features. No step changes its weights, and it always computes in inference mode."""
        return self.make_frozen()

    def identify(self) -> tuple[Any, list[NDArray[Any]]]:
        """Return what decides the features of an image: a description as JSON, and weights."""
        if self.identity is not None:
            return self.identity
        return json.loads(json.dumps(keras.saving.serialize_keras_object(self.frozen))), self.frozen.get_weights()

    @property
    def shape(self) -> tuple[Any, ...]:
        """The shape of an image's features."""
        return (self.pool or self.head).input_shape[1:]

    @cached_property
    def fixed(self) -> keras.Model:
        """From images to what the head takes."""
        if self.pool is None:
            return self.frozen
        return keras.Model(self.frozen.inputs[0], self.pool(self.frozen.outputs[0]), name="fixed")


def split_at_frozen(network: keras.Model) -> FrozenSplit | None:
    """Divide a functional network after its last frozen weights, and after global pooling that follows.

    Returns:
        None if no weights come before a place where a single tensor passes.
    """
    split = _split(network)
    return None if split is None else take_pool_out(split)


def take_pool_out(split: FrozenSplit) -> FrozenSplit:
    """Make global pooling at the beginning of the head a part of its own."""
    head = split.head
    nodes = [node for nodes in head._nodes_by_depth.values() for node in nodes]
    first = [node for node in nodes if any(tensor is head.inputs[0] for tensor in node.input_tensors)]
    layer = first[0].operation
    if len(first) > 1 or not isinstance(layer, keras.layers.GlobalAveragePooling2D) or layer.compute_dtype != "float32":
        return split
    pooled = first[0].outputs[0]
    pool = keras.Model(head.inputs[0], pooled, name="pool")
    return replace(split, head=keras.Model(pooled, head.outputs[0], name=head.name), pool=pool)


def _split(network: keras.Model) -> FrozenSplit | None:
    """Divide a functional network after its last frozen weights.

    The place is the last one before any trained layer at which a single tensor passes. An inner model that is frozen in
    part is divided, too. Layers without weights that follow, such as pooling, belong to the head, so that networks with
    other heads have the same features.

    Returns:
        None if no weights come before such a place.
    """
    network = network._functional if isinstance(network, keras.Sequential) else network
    depths = sorted(network._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in network._nodes_by_depth[depth]]
    uses = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    uses.update(id(tensor) for tensor in network.outputs)
    calls = Counter(id(node.operation) for node in nodes)
    passing: dict[int, keras.KerasTensor] = {}
    called_again: set[int] = set()  # layers with weights that later nodes call, too
    found, is_farther = None, False
    for node in nodes:
        layer = node.operation
        if not _is_fixed(layer):
            inner = _split(layer) if isinstance(layer, keras.Model) and calls[id(layer)] == 1 else None
            if inner is not None and len(passing) == 1 and not called_again:
                found = _divide_inside(network, node, inner)
            break
        is_farther = is_farther or bool(_list_weights(layer))
        calls[id(layer)] -= 1
        called_again.discard(id(layer))
        if calls[id(layer)] and _list_weights(layer):
            called_again.add(id(layer))
        for tensor in node.input_tensors:
            uses[id(tensor)] -= 1
            if not uses[id(tensor)]:
                passing.pop(id(tensor), None)
        passing |= {id(tensor): tensor for tensor in node.outputs if uses[id(tensor)]}
        if is_farther and len(passing) == 1 and not called_again:
            found, is_farther = _divide(network, next(iter(passing.values()))), False
    return found


def _divide(network: keras.Model, place: keras.KerasTensor) -> FrozenSplit:
    head = keras.Model(place, network.outputs[0], name=network.name)
    frozen = keras.Model(network.inputs[0], place, name="frozen")
    return FrozenSplit(head, lambda: frozen)


def _divide_inside(network: keras.Model, node: Any, inner: FrozenSplit) -> FrozenSplit:
    """Divide a network inside the inner model that `node` calls."""
    frozen = keras.Model(network.inputs[0], inner.frozen(node.input_tensors[0]), name="frozen")
    # Its layers, rather than itself as one layer: `take_pool_out` looks at the first one.
    features, outputs = inner.head.inputs[0], inner.head.outputs[0]
    if node.outputs[0] is not network.outputs[0]:
        outputs = keras.Model(node.outputs[0], network.outputs[0])(outputs)
    return FrozenSplit(keras.Model(features, outputs, name=network.name), lambda: frozen)


def _list_weights(operation: Any) -> list[keras.Variable]:
    return list(operation.weights) if isinstance(operation, keras.Layer) else []


def _is_fixed(operation: Any) -> bool:
    """Return whether an operation gives the same output for the same image in each step."""
    if not isinstance(operation, keras.Layer):
        return True
    parts = [operation, *operation._flatten_layers(include_self=False)]
    return not operation.trainable_variables and not any(type(part).__name__.startswith(NOISE) for part in parts)
