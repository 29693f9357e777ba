"""What a finished training leaves behind: a model for raw pixels, and its predictions."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.spec import NetworkSpec
from worker.data import TrainingData
from worker.network import apply_layers, without_penalties
from worker.resident import ResidentData

_BATCH_SIZE = 64


def build_exported(network: NetworkSpec, data: TrainingData, trained: keras.Model) -> keras.Model:
    """The model that users download, with the weights of `trained`.

    Returns:
        A functional model of Keras' own layers from raw pixels, (batch, height, width, channels) in the dataset's
        range, to (batch, classes) probabilities. It has no penalties, so that its `evaluate` gives the cross-entropy.
    """
    low, high = data.value_range
    pixels = keras.Input(data.image, name="pixels")
    scaled = keras.layers.Rescaling(1 / (high - low), -low / (high - low), name="rescaling")(pixels)
    logits = apply_layers(scaled, without_penalties(network), len(data.classes), iter(lambda: 0, None))
    model = keras.Model(pixels, keras.layers.Softmax(name="probabilities")(logits), name="classifier")
    model.set_weights(trained.get_weights())
    return model


def predict(
    model: keras.Model, resident: ResidentData, rows: Mapping[str, NDArray[np.int32]]
) -> dict[str, NDArray[np.float32]]:
    """For each split the (count, classes) probabilities that `model` gives to its raw images."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False)
    def probabilities(batch: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(tf.gather(resident.images, batch), tf.float32), training=False)

    def of_split(split: NDArray[np.int32]) -> NDArray[np.float32]:
        batches = [split[begin : begin + _BATCH_SIZE] for begin in range(0, len(split), _BATCH_SIZE)]
        parts = [probabilities(tf.constant(batch)).numpy() for batch in batches]
        return np.concatenate(parts) if parts else np.empty((0, model.output_shape[-1]), np.float32)

    return {name: of_split(split) for name, split in rows.items()}


def save_predictions(path: Path, data: TrainingData, probabilities: Mapping[str, NDArray[np.float32]]) -> None:
    """Write `<split>_indices` (in the dataset), `<split>_labels` and `<split>_probabilities` of each split."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, values in probabilities.items():
        arrays[f"{name}_indices"] = data.source[name]
        arrays[f"{name}_labels"] = data.labels[data.rows[name]]
        arrays[f"{name}_probabilities"] = values
    np.savez(path, **arrays)  # type: ignore[arg-type]
