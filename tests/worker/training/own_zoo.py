"""Ten kinds of networks for 16×16 images and 5 classes, as people write them in Keras, each for a given width."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import pytest
from keras import layers, ops

IMAGE, CLASSES = (16, 16, 3), 5


@dataclass(frozen=True)
class Drop:
    """Adds dropout at the places of a network where people write it; without a rate it adds none."""

    rate: float | None = None

    def __call__(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        return tensor if self.rate is None else layers.Dropout(self.rate)(tensor)

    def list_layers(self) -> list[keras.layers.Layer]:
        """Return the layers for a chain, where dropout is a layer instead of a call."""
        return [] if self.rate is None else [layers.Dropout(self.rate)]


KEEP = Drop()


def make_resnet(width: int = 8, drop: Drop = KEEP) -> keras.Model:
    """Make a ResNet20, with 1×1 projections where shapes differ."""
    images = keras.Input(IMAGE)
    maps = _convolve(images, width)
    for stage in range(3):
        for block in range(3):
            filters, strides = width * 2**stage, 2 if stage and not block else 1
            inner = _convolve(_convolve(maps, filters, strides=strides), filters, activation=False)
            if strides > 1:
                maps = layers.Conv2D(filters, 1, strides=strides)(maps)
            maps = layers.ReLU()(layers.Add()([maps, inner]))
    pooled = drop(layers.GlobalAveragePooling2D()(maps))
    return keras.Model(images, layers.Dense(CLASSES, activation="softmax")(pooled))


def make_mobilenet(width: int = 16, drop: Drop = KEEP) -> keras.Model:
    """Make inverted residuals with depthwise convolutions and gates, as in MobileNetV3."""
    images = keras.Input(IMAGE)
    maps = layers.Conv2D(width, 3, strides=2, padding="same", activation="hard_swish")(layers.Rescaling(2, -1)(images))
    for _ in range(2):
        inner = layers.Conv2D(4 * width, 1, activation="hard_swish")(maps)
        inner = layers.DepthwiseConv2D(3, padding="same")(inner)
        gate = layers.GlobalAveragePooling2D(keepdims=True)(inner)
        gate = layers.Conv2D(width, 1, activation="relu")(gate)
        gate = layers.Conv2D(4 * width, 1, activation="hard_sigmoid")(gate)
        inner = layers.Conv2D(width, 1)(layers.Multiply()([inner, gate]))
        maps = layers.Add()([maps, layers.BatchNormalization()(inner)])
    pooled = drop(layers.GlobalAveragePooling2D(keepdims=True)(maps))
    figures = layers.Flatten()(layers.Conv2D(CLASSES, 1)(pooled))
    return keras.Model(images, layers.Softmax()(figures))


def make_densenet(width: int = 8, drop: Drop = KEEP) -> keras.Model:
    images = keras.Input(IMAGE)
    maps = layers.Conv2D(2 * width, 3, padding="same")(images)
    for stage in range(2):
        for _ in range(3):
            inner = layers.ReLU()(layers.BatchNormalization()(maps))
            maps = layers.Concatenate()([maps, layers.Conv2D(width, 3, padding="same")(inner)])
        if not stage:
            maps = drop(layers.AveragePooling2D(2)(layers.Conv2D(2 * width, 1)(maps)))
    return keras.Model(images, layers.Dense(CLASSES)(drop(layers.GlobalAveragePooling2D()(maps))))


def make_inception(width: int = 8, drop: Drop = KEEP) -> keras.Model:
    images = keras.Input(IMAGE)
    maps = drop(layers.MaxPooling2D()(layers.Conv2D(width, 3, padding="same", activation="relu")(images)))
    for _ in range(2):
        pooled = layers.MaxPooling2D(3, strides=1, padding="same")(maps)
        branches = [
            layers.Conv2D(width, 1, activation="relu")(maps),
            layers.SeparableConv2D(width, 3, padding="same", activation="relu")(maps),
            layers.Conv2D(width, 1, activation="relu")(pooled),
        ]
        maps = layers.Concatenate()(branches)
    maps = drop(layers.AveragePooling2D(2)(maps))
    hidden = layers.Dense(4 * width, activation="relu")(layers.Flatten()(maps))
    return keras.Model(images, layers.Activation("softmax")(layers.Dense(CLASSES)(drop(hidden))))


def make_squeezed(width: int = 16, drop: Drop = KEEP) -> keras.Model:
    """Make a chain of squeeze-and-excitation blocks, whose `Reshape` names the number of channels."""
    images = keras.Input(IMAGE)
    maps = images
    for _ in range(2):
        maps = drop(layers.MaxPooling2D()(_convolve(maps, width)))
        gate = layers.Reshape((1, 1, width))(layers.GlobalAveragePooling2D()(maps))
        gate = layers.Dense(width, activation="sigmoid")(layers.Dense(width // 4, activation="relu")(gate))
        maps = layers.Multiply()([maps, gate])
    figures = layers.Dense(CLASSES)(drop(layers.GlobalMaxPooling2D()(maps)))
    return keras.Model(images, figures)


def make_transformer(width: int = 16, drop: Drop = KEEP) -> keras.Model:
    """Make a small pooled vision transformer."""
    images = keras.Input(IMAGE)
    tokens = layers.Reshape((16, width))(layers.Conv2D(width, 4, strides=4)(images))
    places = ops.cumsum(ops.ones_like(tokens[..., 0]), axis=1) - 1
    tokens += layers.Embedding(16, width)(places)
    for _ in range(2):
        normed = layers.LayerNormalization()(tokens)
        tokens += layers.MultiHeadAttention(2, width // 2)(normed, normed)
        inner = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization()(tokens))
        tokens += layers.Dense(width)(inner)
    pooled = drop(layers.GlobalAveragePooling1D()(layers.LayerNormalization()(tokens)))
    return keras.Model(images, layers.Dense(CLASSES)(pooled))


def make_ops(width: int = 8, drop: Drop = KEEP) -> keras.Model:
    """Make a network in functional form whose activations, pools and sums are operations."""
    images = keras.Input(IMAGE)
    maps = ops.relu(layers.Conv2D(width, 3, padding="same")(images * 2.0 - 1.0))
    maps = drop(ops.max_pool(maps, 2, 2))
    inner = ops.silu(layers.Conv2D(width, 3, padding="same")(maps))
    maps = ops.concatenate([maps + inner, ops.square(inner)], axis=-1)
    figures = layers.Dense(CLASSES)(drop(ops.mean(maps, axis=(1, 2))))
    return keras.Model(images, ops.softmax(figures))


def make_nested(width: int = 8, drop: Drop = KEEP) -> keras.Model:
    """Make a chain with a functional network and another chain inside."""
    taken = keras.Input((8, 8, 2 * width))
    added = layers.Add()([taken, layers.Conv2D(2 * width, 3, padding="same", activation="relu")(taken)])
    parts = [
        keras.Input(IMAGE),
        keras.Sequential(
            [
                keras.Input(IMAGE),
                layers.Conv2D(2 * width, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                *drop.list_layers(),
            ]
        ),
        keras.Model(taken, added),
        keras.Sequential(
            [layers.GlobalAveragePooling2D(), *drop.list_layers(), layers.Dense(CLASSES, activation="softmax")]
        ),
    ]
    return keras.Sequential(parts)


def make_grouped(width: int = 8, drop: Drop = KEEP) -> keras.Model:
    """Make grouped convolutions and normalization by groups, and a ConvNeXt block."""
    images = keras.Input(IMAGE)
    maps = layers.Conv2D(4 * width, 3, padding="same")(images)
    maps = layers.ReLU()(layers.GroupNormalization(width)(maps))
    maps = layers.Conv2D(4 * width, 3, padding="same", groups=width)(maps)
    maps = drop(layers.MaxPooling2D()(maps))
    inner = layers.LayerNormalization()(layers.DepthwiseConv2D(7, padding="same")(maps))
    inner = layers.Dense(4 * width)(layers.Dense(8 * width, activation="gelu")(inner))
    maps = maps + inner
    return keras.Model(images, layers.Dense(CLASSES)(drop(layers.GlobalAveragePooling2D()(maps))))


def make_plain(width: int = 8, drop: Drop = KEEP) -> keras.Model:
    """Make a chain without a dense layer: its last convolution gives the answers."""
    parts: list[keras.layers.Layer] = [keras.Input(IMAGE)]
    for filters in (width, 2 * width):
        parts += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D(), *drop.list_layers()]
    return keras.Sequential([*parts, layers.Conv2D(CLASSES, 1), layers.GlobalAveragePooling2D(), layers.Softmax()])


ZOO: dict[str, Callable[..., keras.Model]] = {
    "resnet": make_resnet,
    "mobilenet": make_mobilenet,
    "densenet": make_densenet,
    "inception": make_inception,
    "squeezed": make_squeezed,
    "transformer": make_transformer,
    "ops": make_ops,
    "nested": make_nested,
    "grouped": make_grouped,
    "plain": make_plain,
}

# Between them, these have most kinds of layers.
IN_EVERY_RUN = ("mobilenet", "transformer", "nested", "ops")


def each_of(*more: str) -> list[Any]:
    """Return the kinds that are tested in every run, with `more`, and the others as proofs."""
    kinds = (*IN_EVERY_RUN, *more)
    return [kind if kind in kinds else pytest.param(kind, marks=pytest.mark.proof) for kind in ZOO]


def _convolve(maps: keras.KerasTensor, filters: int, *, strides: int = 1, activation: bool = True) -> keras.KerasTensor:
    maps = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(maps)
    maps = layers.BatchNormalization()(maps)
    return layers.ReLU()(maps) if activation else maps
