"""Takes apart an uploaded model that returns a feature map: its layers as JSON, and its weights as arrays."""

import json
from pathlib import Path

import keras
import numpy as np

from worker.training.backbone import CONFIG, GIVES_MAP, WEIGHTS
from worker.training.foreign.keras_model import list_leaves
from worker.training.keras_file import load_model


def save_backbone(file: Path, target: Path) -> int:
    """Write the layers and the weights of a model into the folder `target`, and return the number of weights.

    Raises:
        ModelRefused.
    """
    model = _replace_normalization(load_model(file))
    config = keras.saving.serialize_keras_object(model) | {GIVES_MAP: len(model.output_shape) == 4}
    (target / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    weights = model.get_weights()
    np.savez(target / WEIGHTS, **{str(place): weight for place, weight in enumerate(weights)})
    return len(weights)


def _replace_normalization(model: keras.Model) -> keras.Model:
    """Replace `Normalization` by `Rescaling`, because the means of the former cannot be exported to other runtimes."""
    leaves = list_leaves(model)
    if not any(isinstance(layer, keras.layers.Normalization) for layer in leaves):
        return model

    def replace_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, keras.layers.Normalization):
            return layer.__class__.from_config(layer.get_config())
        mean, variance = (np.asarray(value, np.float64)[0] for value in (layer.mean, layer.variance))
        spread = np.maximum(np.sqrt(variance), keras.config.epsilon())
        scale, offset = (spread, mean) if layer.invert else (1 / spread, -mean / spread)
        return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name=layer.name)

    other = keras.models.clone_model(model, clone_function=replace_layer, recursive=True)
    kept = [layer for layer in leaves if not isinstance(layer, keras.layers.Normalization)]
    other.set_weights([weight for layer in kept for weight in layer.get_weights()])
    return other
