"""Puts the weights of another training into a new network."""

from collections.abc import Sequence
from pathlib import Path

import keras


def start_from(network: keras.Model, model: Path, layers: Sequence[str]) -> None:
    """Copy the weights of some layers, by name, from a model file that a training has left.

    Raises:
        ValueError: a layer is not there, or has weights of other shapes.
    """
    known = keras.saving.load_model(model, compile=False)
    for name in layers:
        network.get_layer(name).set_weights(known.get_layer(name).get_weights())
