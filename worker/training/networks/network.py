"""Builds a Keras model from a network spec, with the layers and names of `heldout.spec.layers.plan_network`."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from heldout.spec.job import JobSpec
from heldout.spec.network import AnyNetworkSpec, BlockSpec, NetworkSpec, OwnNetworkSpec
from worker.machine.devices import Policy
from worker.training.data.replicas import Replicas
from worker.training.networks.backbone import UploadedBackbone
from worker.training.networks.frozen import FrozenSplit, split_at_frozen, take_pool_out
from worker.training.networks.own_network import build_own_network, list_steps


def build_network(
    network: AnyNetworkSpec,
    image: tuple[int, int, int],
    classes: int,
    seed: int,
    policy: str = "float32",
    relu_after_pool: bool | None = None,
    backbone: UploadedBackbone | None = None,
) -> keras.Model:
    """Build the network that is trained, from images scaled to [0, 1] to logits.

    Args:
        image: (height, width, channels) of one image.
        classes: units of the output layer.
        seed: decides every initial weight and every dropout mask; the same seed gives the same network.
        policy: Keras' name for the precision of its layers. Weights are float32 under every policy.
        relu_after_pool: whether a block without normalization applies its last ReLU after max pooling. Values and
            gradients have the same bits: the maximum of a window is the same before and after. The default is only in
            bfloat16, where it makes steps faster (docs/measurements/precision.md).
        backbone: the uploaded model that the network needs. Before blocks it computes in float32 under every policy.
    Returns:
        A functional model from (batch, height, width, channels) float32 to (batch, classes) float32.
    """
    # Layers without a seed of their own, such as `StochasticDepth`, draw from a generator that is seeded from here.
    random.seed(seed)
    seeds = _iterate_layer_seeds(seed)
    if isinstance(network, OwnNetworkSpec):
        assert backbone is not None, "the caller reads the uploaded model"
        return build_own_network(network, backbone, image, classes, seeds, policy)
    images = keras.Input(image, dtype="float32", name="images")
    if relu_after_pool is None:
        relu_after_pool = policy == "mixed_bfloat16"
    logits = apply_layers(images, network, classes, seeds, policy, relu_after_pool, backbone)
    return keras.Model(images, logits, name="network")


def divide_early(
    network: AnyNetworkSpec,
    image: tuple[int, int, int],
    classes: int,
    seed: int,
    backbone: UploadedBackbone | None,
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> FrozenSplit | None:
    """Divide a network after a backbone that stays fixed, which is only built if it is needed, then in `scope`.

    Its precision is float32, as that of every network with a backbone.

    Returns:
        None if the network has to be built first.
    """
    asked = None if isinstance(network, OwnNetworkSpec) else network.backbone
    if asked is None or backbone is None or backbone.gives is None or not backbone.weights:
        return None
    if isinstance(network, OwnNetworkSpec) or not backbone.stays_fixed(asked):
        return None

    def build_frozen() -> keras.Model:
        with scope():
            images = keras.Input(image, dtype="float32", name="images")
            return keras.Model(images, backbone.make_maps(images, asked, iter(lambda: 0, None)), name="frozen")

    features, seeds = keras.Input(backbone.gives, name="features"), _iterate_layer_seeds(seed)
    backbone.skip_seeds(seeds)
    head = keras.Model(features, apply_head(features, network, classes, seeds), name="network")
    return take_pool_out(FrozenSplit(head, build_frozen, identity=backbone.identity))


def divide_built(built: keras.Model, network: AnyNetworkSpec, backbone: UploadedBackbone | None) -> FrozenSplit | None:
    """Divide a network that is built; the features of a backbone have the same name as in `divide_early`."""
    split = split_at_frozen(built)
    if split is None or backbone is None or isinstance(network, OwnNetworkSpec) or backbone.is_noisy:
        return split
    return replace(split, identity=backbone.identity)


def apply_layers(
    images: keras.KerasTensor,
    network: AnyNetworkSpec,
    classes: int,
    seeds: Iterator[int],
    policy: str = "float32",
    relu_after_pool: bool = False,
    backbone: UploadedBackbone | None = None,
) -> keras.KerasTensor:
    """Return the logits of `images`, float32 under every policy; every random layer takes the next of `seeds`.

    An own network has no penalties of its layers.
    """
    if isinstance(network, OwnNetworkSpec):
        assert backbone is not None, "the caller reads the uploaded model"
        shape = images.shape[1:]
        return build_own_network(network, backbone, shape, classes, seeds, policy, penalties=False)(images)
    if network.backbone is not None:
        assert backbone is not None, "the caller reads the backbone"
        images = backbone.make_maps(images, network.backbone, seeds)
    return apply_head(images, network, classes, seeds, policy, relu_after_pool)


def apply_head(
    maps: keras.KerasTensor,
    network: NetworkSpec,
    classes: int,
    seeds: Iterator[int],
    policy: str = "float32",
    relu_after_pool: bool = False,
) -> keras.KerasTensor:
    """Return the logits of images, or of what a backbone gives of them."""
    for index, block in enumerate(network.blocks):
        maps = _apply_block(
            maps, f"block{index + 1}", block, network.get_penalty(block), seeds, policy, relu_after_pool
        )
    if network.head == "flatten":
        features = keras.layers.Flatten(dtype=policy, name="flatten")(maps)
    else:
        features = keras.layers.GlobalAveragePooling2D(dtype=policy, name="global_average")(maps)
    for index, dense in enumerate(network.dense):
        name = f"dense{index + 1}"
        features = keras.layers.Dense(
            dense.units,
            activation=dense.activation,
            kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
            kernel_regularizer=_make_penalty(dense.l2 or 0.0),
            dtype=policy,
            name=name,
        )(features)
        if dense.dropout:
            dropped = keras.layers.Dropout(dense.dropout, seed=next(seeds), dtype=policy, name=f"{name}_dropout")
            features = dropped(features)
    output = keras.layers.Dense(
        classes, kernel_initializer=keras.initializers.GlorotUniform(next(seeds)), dtype="float32", name="output"
    )
    return output(features)


def freeze_blocks(network: keras.Model, count: int) -> None:
    """Freeze the first `count` blocks; their batch normalization uses its stored averages."""
    frozen = tuple(f"block{index + 1}_" for index in range(count))
    for layer in network.layers:
        if layer.name.startswith(frozen):
            layer.trainable = False


def list_batch_norms(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the layers that normalize by the batch if they are trained, each once."""
    return [step for step in dict.fromkeys(list_steps(network)) if isinstance(step, keras.layers.BatchNormalization)]


def drop_penalties(network: AnyNetworkSpec) -> AnyNetworkSpec:
    """Copy layers and weights without L2, so that `Model.evaluate` returns only the cross-entropy."""
    if isinstance(network, OwnNetworkSpec):
        return network.model_copy(update={"l2": 0.0})
    return network.model_copy(
        update={
            "l2": 0.0,
            "blocks": tuple(block.model_copy(update={"l2": None}) for block in network.blocks),
            "dense": tuple(dense.model_copy(update={"l2": None}) for dense in network.dense),
        }
    )


def computes_in_float16(network: keras.Model) -> bool:
    """Return whether any layer computes in floats whose range is too small for gradients."""
    return any(layer.compute_dtype == "float16" for layer in network.layers)


def _apply_block(
    maps: keras.KerasTensor,
    name: str,
    block: BlockSpec,
    penalty: float,
    seeds: Iterator[int],
    policy: str,
    relu_after_pool: bool,
) -> keras.KerasTensor:
    def convolve(maps: keras.KerasTensor, size: int, strides: int, conv: str, norm: str) -> keras.KerasTensor:
        maps = keras.layers.Conv2D(
            block.filters,
            size,
            strides,
            padding=block.padding,
            kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
            kernel_regularizer=_make_penalty(penalty),
            dtype=policy,
            name=f"{name}_{conv}",
        )(maps)
        normalization = _make_normalization(block, policy, f"{name}_{norm}")
        return maps if normalization is None else normalization(maps)

    activations = [
        keras.layers.Activation(block.activation, dtype=policy, name=f"{name}_activation{repeat}")
        for repeat in range(1, block.repeat + 1)
    ]
    pooling = keras.layers.MaxPooling2D if block.pool_type == "max" else keras.layers.AveragePooling2D
    pools = [pooling(block.pool, dtype=policy, name=f"{name}_pool")] if block.pool > 1 else []
    shortcut = maps
    for repeat, activation in enumerate(activations, 1):
        strides = block.strides if repeat == 1 else 1
        maps = convolve(maps, block.kernel_size, strides, f"conv{repeat}", f"norm{repeat}")
        if block.residual and repeat == block.repeat:
            if block.needs_projection(shortcut.shape[-1]):
                shortcut = convolve(shortcut, 1, block.strides, "shortcut_conv", "shortcut_norm")
            maps = keras.layers.Add(dtype=policy, name=f"{name}_add")([maps, shortcut])
        last = [activation, *pools] if repeat == block.repeat else [activation]
        # Other activations can round two values to one, whose gradient would then go to the other. After normalization
        # nothing was gained.
        is_same = block.activation == "relu" and block.pool_type == "max"
        if relu_after_pool and is_same and block.normalization == "none":
            last.reverse()
        for layer in last:
            maps = layer(maps)
    if block.dropout:
        maps = keras.layers.Dropout(block.dropout, seed=next(seeds), dtype=policy, name=f"{name}_dropout")(maps)
    return maps


def _make_normalization(block: BlockSpec, policy: str, name: str) -> keras.Layer | None:
    match block.normalization:
        case "batch":
            return keras.layers.BatchNormalization(dtype=policy, name=name)
        case "layer":
            return keras.layers.LayerNormalization(dtype=policy, name=name)
        case "group":
            return keras.layers.GroupNormalization(block.groups, dtype=policy, name=name)
        case _:
            return None


def _make_penalty(factor: float) -> keras.regularizers.Regularizer | None:
    return keras.regularizers.L2(factor) if factor else None


def _iterate_layer_seeds(seed: int) -> Iterator[int]:
    """Seeds for successive layers, so that no two layers draw the same numbers."""
    draws = np.random.default_rng([seed, 0])
    while True:
        yield int(draws.integers(2**31))


@dataclass(frozen=True)
class NetworkBuilder:
    """Builds the network of a spec. Other seeds than the spec's give other initial weights."""

    spec: JobSpec
    image: tuple[int, int, int]
    classes: int
    backbone: UploadedBackbone | None
    replicas: Replicas

    def build(self, policy: Policy, seed: int | None = None) -> keras.Model:
        """Build the whole network."""
        return self._set_momentum(build_network(*self._list_asked(seed), policy, backbone=self.backbone))

    def divide(self, policy: Policy, seed: int | None = None) -> tuple[keras.Model | None, FrozenSplit | None]:
        """Return the network, if it is built, and its parts, if it has a frozen one."""
        early = divide_early(*self._list_asked(seed), self.backbone, self.replicas.scope)
        if early is not None:
            self._set_momentum(early.head)
            return None, early
        network, built = self.spec.network, self.build(policy, seed)
        return built, divide_built(built, network, self.backbone) if network.has_frozen_part else None

    def build_trained(self, policy: Policy, seed: int | None = None) -> keras.Model:
        """Build what is trained: the network, or its head."""
        return choose_trained(*self.divide(policy, seed))

    def _set_momentum(self, network: keras.Model) -> keras.Model:
        momentum = self.spec.training.batch_norm.momentum
        for layer in [] if momentum is None else list_batch_norms(network):
            layer.momentum = momentum
        return network

    def _list_asked(self, seed: int | None) -> tuple[AnyNetworkSpec, tuple[int, int, int], int, int]:
        known = self.spec.training.seed if seed is None else seed
        assert known is not None, "the API completes every spec"
        return self.spec.network, self.image, self.classes, known


def choose_trained(whole: keras.Model | None, split: FrozenSplit | None) -> keras.Model:
    trained = whole if split is None else split.head
    assert trained is not None
    return trained
