"""Puts the weights of another training into a new network."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from worker.training.keras_file import load_model


def start_from(network: keras.Model, model: Path, layers: Sequence[str]) -> None:
    """Copy the weights of some layers, by name, from a model file that a training has left.

    Args:
        model: `.keras`; or `.npz` with the weights of an uploaded model, `<layer>/<weight>`, both counted from 0.

    Raises:
        ModelRefused: the file is not one that a training has left.
        ValueError: a layer is not there, or has weights of other shapes.
    """
    if model.suffix == ".npz":
        _start_by_position(network, model, layers)
        return
    known = load_model(model)
    for name in layers:
        network.get_layer(name).set_weights(known.get_layer(name).get_weights())


def _start_by_position(network: keras.Model, weights: Path, layers: Sequence[str]) -> None:
    with np.load(weights, allow_pickle=False) as arrays:
        for number, layer in enumerate(one for one in network.layers if one.weights):
            if layer.name in layers:
                layer.set_weights([arrays[f"{number}/{place}"] for place in range(len(layer.weights))])
