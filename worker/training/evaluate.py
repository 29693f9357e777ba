"""Losses and accuracies in inference mode: what a metric says, and how it is measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from time import perf_counter

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.cost import INFERENCE_BATCH_SIZE
from heldout.intervals import wilson_interval
from heldout.stored.final import FinalView, GapsView, GapView, SplitResult
from worker.training.best_weights import Weights
from worker.training.pace import Pace
from worker.training.resident import BatchSource


@dataclass(frozen=True)
class Measured:
    """One split under fixed weights: mean cross-entropy in nats, images classified rightly, and images."""

    loss: float
    correct: int
    count: int

    @property
    def accuracy(self) -> float:
        """The share that was classified rightly; NaN without images."""
        return self.correct / self.count if self.count else float("nan")


class Evaluator:
    """Measures a network on rows of a job's images, in calls of about half a second.

    Args:
        measured_by: a network of the same layers that computes in its place.
        weights: gives the weights of the moment for `measured_by`; those of `network` where absent.
    """

    def __init__(
        self,
        network: keras.Model,
        source: BatchSource,
        batch_size: int = INFERENCE_BATCH_SIZE,
        measured_by: keras.Model | None = None,
        weights: Callable[[], Weights] | None = None,
    ) -> None:
        self._network = measured_by or network
        self._weights = None if measured_by is None else weights or network.get_weights
        self._source = source
        # Small batches keep a layer's maps in the cache of a core.
        self._batch_size = batch_size
        self._pace = Pace()
        rows, batch = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)
        # One graph for splits of every size: without the signature each would be traced anew.
        self._call = tf.function(self._sums, autograph=False, input_signature=[rows, batch, batch])

    def measure(self, rows: NDArray[np.int32], between_calls: Callable[[], None] = lambda: None) -> Measured:
        """The figures of the images in `rows`; no dropout, penalties, smoothing, weights or augmentation."""
        if self._weights is not None:
            self._network.set_weights(self._weights())
        batches = -(-len(rows) // self._batch_size)
        self._source.expect(rows, self._batch_size)
        rows_tensor = tf.constant(rows)
        loss, correct, done = 0.0, 0, 0
        while done < batches:
            last = min(batches, done + self._pace.steps)
            started = perf_counter()
            sums = self._call(rows_tensor, tf.constant(done), tf.constant(last))
            loss, correct = loss + float(sums[0]), correct + int(sums[1])
            self._pace = self._pace.after(last - done, perf_counter() - started)
            done = last
            between_calls()
        return Measured(loss / len(rows) if len(rows) else float("nan"), correct, len(rows))

    def _sums(self, rows: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def body(batch: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, ...]:
            begin = batch * self._batch_size
            images, labels = self._source.batch(rows[begin : begin + self._batch_size])
            logits = self._network(images, training=False)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            answers = tf.argmax(logits, axis=-1, output_type=labels.dtype)
            right = tf.reduce_sum(tf.cast(answers == labels, tf.int32))
            return batch + 1, loss + tf.cast(tf.reduce_sum(losses), tf.float64), correct + right

        start = (first, tf.constant(0.0, tf.float64), tf.constant(0))
        _, loss, correct = tf.while_loop(lambda batch, *_: batch < last, body, start)
        return loss, correct


def from_predictions(
    losses: NDArray[np.float32], probabilities: NDArray[np.float32], labels: NDArray[np.int32]
) -> Measured:
    """The figures of predictions: (count,) cross-entropies and (count, classes) probabilities of images."""
    if not len(labels):
        return Measured(float("nan"), 0, 0)
    correct = np.count_nonzero(probabilities.argmax(axis=1) == labels)
    return Measured(float(losses.mean(dtype=np.float64)), int(correct), len(labels))


def finite(value: float) -> float | None:
    """`value`, or None where it is infinite or not a number, which JSON cannot say."""
    return value if isfinite(value) else None


def final_figures(epoch: int, measured: Mapping[str, Measured]) -> FinalView:
    """How the kept weights, of `epoch`, did; `measured` lacks a held-out split where it is not measured."""
    train, validation, test = measured["train"], measured.get("validation"), measured.get("test")
    return FinalView(
        epoch=epoch,
        train=_split(train),
        validation=validation and _split(validation),
        test=test and _split(test),
        gap=GapsView(validation=validation and _gap(train, validation), test=test and _gap(train, test)),
    )


def _split(measured: Measured) -> SplitResult:
    return SplitResult(
        loss=measured.loss,
        accuracy=measured.accuracy,
        count=measured.count,
        interval=wilson_interval(measured.correct, measured.count),
    )


def _gap(train: Measured, heldout: Measured) -> GapView:
    """Positive where the held-out split is worse."""
    return GapView(accuracy=train.accuracy - heldout.accuracy, loss=heldout.loss - train.loss)
