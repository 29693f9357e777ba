"""What a finished training leaves behind: a model for raw pixels, and its predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.spec import NetworkSpec
from worker.training.data import TrainingData
from worker.training.network import apply_layers, without_penalties
from worker.training.resident import BatchSource

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
    # So that `evaluate` works as it is; plain SGD has no state that the file would have to carry.
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@dataclass(frozen=True)
class Predictions:
    """What a model says of one split's images: (count, classes) probabilities and (count,) cross-entropies in nats."""

    probabilities: NDArray[np.float32]
    losses: NDArray[np.float32]


def predict(model: keras.Model, source: BatchSource, rows: Mapping[str, NDArray[np.int32]]) -> dict[str, Predictions]:
    """For each split what an exported model says of its raw images."""
    both = keras.Model(model.input, [model.get_layer("output").output, model.output])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False)
    def of_batch(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, labels = source.pixels(batch), source.labels(batch)
        logits, probabilities = both(tf.cast(pixels, tf.float32), training=False)
        # From logits, as Keras does it for a model that ends in a softmax: a probability can round to zero.
        return probabilities, tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    def of_split(split: NDArray[np.int32]) -> Predictions:
        probabilities = np.empty((len(split), model.output_shape[-1]), np.float32)
        losses = np.empty(len(split), np.float32)
        source.expect(split, _BATCH_SIZE)
        for begin in range(0, len(split), _BATCH_SIZE):
            part = slice(begin, begin + _BATCH_SIZE)
            probabilities[part], losses[part] = of_batch(tf.constant(split[part]))
        return Predictions(probabilities, losses)

    return {name: of_split(split) for name, split in rows.items()}


def save_predictions(path: Path, data: TrainingData, predictions: Mapping[str, Predictions]) -> None:
    """Write `<split>_indices` (in the dataset), `<split>_labels` and `<split>_probabilities` of each split."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, split in predictions.items():
        arrays[f"{name}_indices"] = data.source[name]
        arrays[f"{name}_labels"] = data.labels[data.rows[name]]
        arrays[f"{name}_probabilities"] = split.probabilities
    np.savez(path, **arrays)  # type: ignore[arg-type]
