"""The answers of an exported model to raw images, or of its head to what its frozen part gives of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.answers.answers import Predictions
from worker.training.data.training_data import BatchSource
from worker.training.engine.training_policy import Weights
from worker.training.measuring.pixel_changes import PixelChange, change_images
from worker.training.networks.frozen import split_at_frozen

# Small batches keep a layer's maps in the cache of a core. Several of them are computed in parallel in one call.
_BATCH_SIZE = 64
_IMAGES_A_CALL = 32 * _BATCH_SIZE


@dataclass(frozen=True)
class FeatureRows:
    """The features of a job's images. of_image: for each row of the images the row of its features."""

    source: BatchSource
    of_image: NDArray[np.int32]


class Predictor:
    """Asks an exported model about raw images of a job, in float32.

    Args:
        source: the job's images; `rows` are rows of it.
        value_range: the dataset's lowest and highest pixel value.
        features: what the model's frozen part gives of them. Images are then only read to change their pixels, and only
        the head is asked about others, unless the frozen part gets other weights.
    """

    def __init__(
        self,
        model: keras.Model,
        source: BatchSource,
        value_range: tuple[float, float],
        features: FeatureRows | None = None,
    ) -> None:
        self.source = source
        self.model = model
        self._features = features
        self._channels = model.input_shape[-1]
        self._classes = model.output_shape[-1]
        self._range = value_range
        self._softmax = model.get_layer("probabilities")
        self._logits = keras.Model(model.input, self._softmax.input)
        self._head, self._frozen_weights = self._divide()
        self._by_head = features is not None
        self._has_other_frozen = False
        rows = tf.TensorSpec([None], tf.int32)
        change = [
            tf.TensorSpec([3], tf.bool),
            tf.TensorSpec([self._channels], tf.int32),
            tf.TensorSpec([8], tf.float32),
        ]
        self._call = tf.function(self._predict_rows, input_signature=[rows], autograph=False)
        self._call_head = tf.function(self._predict_features, input_signature=[rows], autograph=False)
        images = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)
        self._call_images = tf.function(self._predict_images, input_signature=[images, rows], autograph=False)
        self._call_changed = tf.function(self._predict_changed_rows, input_signature=[rows, *change], autograph=False)

    def _divide(self) -> tuple[keras.Model | None, Weights]:
        """Return the part of the model that takes features, and the weights before it."""
        split = split_at_frozen(self._logits)
        return (None, []) if split is None else (split.head, split.frozen.get_weights())

    def use(self, weights: Weights) -> None:
        """Answer with other weights of the same network, or of its head, from now on."""
        is_whole = len(weights) == len(self.model.weights)
        self._by_head = self._features is not None and not is_whole
        if is_whole:
            self.model.set_weights(weights)
        elif self._has_other_frozen or self._head is None:
            self.model.set_weights([*self._frozen_weights, *weights])
        else:
            self._head.set_weights(weights)
        self._has_other_frozen = is_whole

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return self.model.input_shape

    def get_weights(self) -> Weights:
        """Return all weights of the exported model."""
        return self.model.get_weights()

    def write(self, file: Path) -> None:
        """Write the exported model as a `.keras` file."""
        self.model.save(file)

    def prepare(self) -> None:
        """Prepare the first answer: trace the graph, and have TensorFlow optimize it."""
        (self._call_head if self._by_head else self._call)(tf.constant([], tf.int32))

    def predict(self, rows: NDArray[np.int32], change: PixelChange | None = None) -> Predictions:
        """Return the model's answers to the images in `rows`, with their pixels under `change`."""
        given = () if change is None else change.make_tensors(self._channels, self._range)
        call, source = self._call if change is None else self._call_changed, self.source
        if self._by_head and self._features is not None and change is None:
            call, source, rows = self._call_head, self._features.source, self._features.of_image[rows]
        probabilities = np.empty((len(rows), self._classes), np.float32)
        losses = np.empty(len(rows), np.float32)
        source.expect(rows, _BATCH_SIZE)
        for begin in range(0, len(rows), _IMAGES_A_CALL):
            part = slice(begin, begin + _IMAGES_A_CALL)
            probabilities[part], losses[part] = call(tf.constant(rows[part]), *given)
        return Predictions(probabilities, losses)

    def predict_images(self, images: NDArray[np.float32], labels: NDArray[np.int32]) -> Predictions:
        """Return the model's answers to raw images (count, height, width, channels) with these labels."""
        found = [
            self._call_images(images[begin : begin + _BATCH_SIZE], labels[begin : begin + _BATCH_SIZE])
            for begin in range(0, len(labels), _BATCH_SIZE)
        ]
        probabilities, losses = ([part[place].numpy() for part in found] for place in (0, 1))
        return Predictions(np.concatenate(probabilities), np.concatenate(losses))

    def _predict_images(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._answer(self._logits, images, labels)

    def _predict_rows(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._predict_in_batches(rows, self._logits, self._read_pixels)

    def _predict_features(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        assert self._features is not None
        return self._predict_in_batches(rows, self._head, self._features.source.batch)

    def _read_pixels(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(self.source.pixels(rows), tf.float32), self.source.labels(rows)

    def _predict_changed_rows(
        self, rows: tf.Tensor, turn: tf.Tensor, order: tf.Tensor, numbers: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        def read(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            pixels, labels = self._read_pixels(rows)
            return change_images(pixels, turn, order, numbers), labels

        return self._predict_in_batches(rows, self._logits, read)

    def _predict_in_batches(
        self, rows: tf.Tensor, model: keras.Model, read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Answer `rows` in a graph, a batch at a time, with as many batches in parallel as there are threads."""
        batches = -(-tf.shape(rows)[0] // _BATCH_SIZE)
        shapes = [None, self._classes], [None]
        answers = [tf.TensorArray(tf.float32, batches, element_shape=shape) for shape in shapes]

        def predict_batch(batch: tf.Tensor, *answers: tf.TensorArray) -> tuple[Any, ...]:
            begin = batch * _BATCH_SIZE
            part = rows[begin : begin + _BATCH_SIZE]
            found = self._answer(model, *read(part))
            return batch + 1, *(array.write(batch, value) for array, value in zip(answers, found, strict=True))

        # More in parallel than threads would only take memory.
        threads = max(1, tf.config.threading.get_inter_op_parallelism_threads())
        _, probabilities, losses = tf.while_loop(
            lambda batch, *_: batch < batches, predict_batch, (0, *answers), parallel_iterations=threads
        )
        return probabilities.concat(), losses.concat()

    def _answer(self, model: keras.Model, inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = model(inputs, training=False)
        # From logits, like Keras for a model that ends in a softmax: a probability can round to zero.
        return self._softmax(logits), tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
