"""The model that is exported: that of a training, or of several trainings one that gives the mean of their answers."""

from collections.abc import Sequence
from pathlib import Path

import keras

from worker.training.keras_file import load_model


def load_models(files: Sequence[Path]) -> keras.Model:
    """One model of Keras' own layers, from raw pixels to probabilities.

    Args:
        files: of at least one model, all from the same pixels to the same classes.
    """
    models = [load_model(file) for file in files]
    if len(models) == 1:
        return models[0]
    pixels = keras.Input(models[0].input_shape[1:], name="pixels")
    said = [_renamed(model, f"member{number}")(pixels) for number, model in enumerate(models, start=1)]
    return keras.Model(pixels, keras.layers.Average(name="probabilities")(said), name="ensemble")


def _renamed(model: keras.Model, name: str) -> keras.Model:
    """The same model under a name of its own, as parts of a model must have."""
    renamed = keras.Model.from_config({**model.get_config(), "name": name})
    renamed.set_weights(model.get_weights())
    return renamed
