"""Small own networks in which faults are planted: with and without normalization, deep, dense and residual."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import layers

Shape = tuple[int, ...]


def make_plain(shape: Shape, classes: int) -> keras.Model:
    parts: list[Any] = []
    for filters in (8, 16):
        parts += [layers.Conv2D(filters, 3, activation="relu", padding="same"), layers.MaxPooling2D()]
    parts += [layers.Flatten(), layers.Dense(32, activation="relu"), layers.Dense(classes, activation="softmax")]
    return keras.Sequential([keras.Input(shape), *parts])


def make_normed(shape: Shape, classes: int) -> keras.Model:
    parts: list[Any] = []
    for filters in (8, 16, 16):
        norm = layers.BatchNormalization(momentum=0.9)
        parts += [layers.Conv2D(filters, 3, padding="same"), norm, layers.ReLU(), layers.MaxPooling2D()]
    return keras.Sequential([keras.Input(shape), *parts, layers.Flatten(), layers.Dense(classes)])


def make_deep(shape: Shape, classes: int) -> keras.Model:
    parts: list[Any] = []
    for filters, strides in ((8, 1), (8, 1), (16, 2), (16, 1), (16, 2), (16, 1)):
        parts.append(layers.Conv2D(filters, 3, strides, padding="same", activation="relu"))
    return keras.Sequential([keras.Input(shape), *parts, layers.Flatten(), layers.Dense(classes)])


def make_dense(shape: Shape, classes: int) -> keras.Model:
    parts = [layers.Flatten(), *(layers.Dense(48, activation="relu") for _ in range(3))]
    return keras.Sequential([keras.Input(shape), *parts, layers.Dense(classes, activation="softmax")])


def make_residual(shape: Shape, classes: int) -> keras.Model:
    images = keras.Input(shape)
    maps = layers.Conv2D(12, 3, padding="same", activation="relu")(images)
    for _ in range(2):
        inner = layers.Conv2D(12, 3, padding="same", activation="relu")(maps)
        inner = layers.Conv2D(12, 3, padding="same")(inner)
        maps = layers.MaxPooling2D()(layers.Activation("relu")(layers.add([inner, maps])))
    return keras.Model(images, layers.Dense(classes)(layers.Flatten()(maps)))


NETWORKS: Mapping[str, Callable[[Shape, int], keras.Model]] = {
    "plain": make_plain,
    "normed": make_normed,
    "deep": make_deep,
    "dense": make_dense,
    "residual": make_residual,
}
