"""Measures losses and accuracies in inference mode."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.answers.answers import Predictions
from analysis.answers.groups import measure_groups
from analysis.answers.temperature import compute_scores
from analysis.arrays.columns import read_columns
from analysis.arrays.file_names import FileNames
from analysis.scheduling.cost import INFERENCE_BATCH_SIZE
from heldout.spec.job import JobSpec
from heldout.spec.network import OwnNetworkSpec
from heldout.spec.objective import Costs
from heldout.statistics import compute_wilson_interval
from heldout.stored.evaluation import LastEpochScores, SplitName, StoredColumn, StoredEvaluation, StoredIntervention
from heldout.stored.results import FinalView, GapsView, GapView, MetricResult, SplitResult
from worker.machine.devices import Policy
from worker.training.data.training_data import BatchSource, TrainingData
from worker.training.engine.training_policy import StepPace, Weights
from worker.training.networks.network import build_network

# An answer in bfloat16 is certain if its logit leads the next one by this share of the logits' range, averaged over its
# batch. No answer with a larger lead was seen to differ in float32 (benchmarks.measuring).
MIN_SURE_LEAD = 0.01


@dataclass(frozen=True)
class Measured:
    """Results on one split with fixed weights: mean cross-entropy in nats, images classified correctly, and images."""

    loss: float
    correct: int
    count: int

    @property
    def accuracy(self) -> float:
        """Return the share classified correctly; NaN without images."""
        return self.correct / self.count if self.count else float("nan")


class Evaluator:
    """Measures a network on rows of a job's images, in calls of about half a second.

    Args:
        weights: sets the current weights of `network`, if it is not the network being trained.
        decided_by: measures the images of which `network` is not certain.
        gives_probabilities: whether `predict` will be called.
    """

    def __init__(
        self,
        network: keras.Model,
        source: BatchSource,
        batch_size: int = INFERENCE_BATCH_SIZE,
        weights: Callable[[], Weights] | None = None,
        decided_by: "Evaluator | None" = None,
        gives_probabilities: bool = False,
    ) -> None:
        self._network = network
        self._weights = weights
        self._decided_by = decided_by
        self._prepared: Future[None] | None = None
        self._source = source
        # Small batches keep a layer's feature maps in the cache of a core.
        self._batch_size = batch_size
        self._pace = StepPace()
        rows, batch = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)
        # One graph for splits of every size: without the signature each would be traced separately.
        self._call = tf.function(self._compute_sums, autograph=False, input_signature=[rows, batch, batch])
        self._call_answers = tf.function(self._answer, autograph=False, input_signature=[rows])
        self._gives_probabilities = gives_probabilities

    def prepare_in(self, thread: Executor) -> None:
        """Prepare the first measurement in a thread. No other graph may be traced meanwhile."""
        self._prepared = thread.submit(self._prepare)

    def wait(self) -> None:
        """Wait until no thread traces the network."""
        if self._prepared is not None:
            self._prepared.result()

    def _prepare(self) -> None:
        """Trace the graph, and have TensorFlow optimise it."""
        self._call(tf.constant([], tf.int32), tf.constant(0), tf.constant(0))
        if self._gives_probabilities and self._decided_by is None:
            self._call_answers(tf.constant([], tf.int32))
        if self._decided_by is not None:
            self._decided_by._prepare()

    def measure(self, rows: NDArray[np.int32], between_calls: Callable[[], None] = lambda: None) -> Measured:
        """Measure the images in `rows`, without dropout, penalties, smoothing, class weights or augmentation."""
        return self.measure_each(rows, between_calls)[0]

    def measure_each(
        self, rows: NDArray[np.int32], between_calls: Callable[[], None] = lambda: None
    ) -> tuple[Measured, NDArray[np.float32]]:
        """Return the result of `measure`, and the loss of each image: (count,) in the order of `rows`."""
        self.wait()
        if self._weights is not None:
            self._network.set_weights(self._weights())
        batches = -(-len(rows) // self._batch_size)
        self._source.expect(rows, self._batch_size)
        rows_tensor = tf.constant(rows)
        loss, correct, done = 0.0, 0, 0
        each, unsure = [np.empty(0, np.float32)], [np.empty(0, np.bool_)]
        while done < batches:
            last = min(batches, done + self._pace.steps)
            started = perf_counter()
            sums = self._call(rows_tensor, tf.constant(done), tf.constant(last))
            loss, correct = loss + float(sums[0]), correct + int(sums[1])
            each.append(sums[2].numpy())
            unsure.append(sums[3].numpy())
            self._pace = self._pace.after(last - done, perf_counter() - started)
            done = last
            between_calls()
        losses = np.concatenate(each)
        if self._decided_by is not None and (is_left := np.concatenate(unsure)).any():
            decided, losses[is_left] = self._decided_by.measure_each(rows[is_left], between_calls)
            loss, correct = loss + decided.loss * decided.count, correct + decided.correct
        return Measured(loss / len(rows) if len(rows) else float("nan"), correct, len(rows)), losses

    def predict(
        self, rows: NDArray[np.int32], between_calls: Callable[[], None] = lambda: None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (images, classes) probabilities and (images,) losses, in float32."""
        if self._decided_by is not None:
            return self._decided_by.predict(rows, between_calls)
        if self._prepared is not None:
            self._prepared.result()
        if self._weights is not None:
            self._network.set_weights(self._weights())
        self._source.expect(rows, self._batch_size)
        found = []
        for begin in range(0, len(rows), self._batch_size):
            found.append(
                [part.numpy() for part in self._call_answers(tf.constant(rows[begin : begin + self._batch_size]))]
            )
            between_calls()
        probabilities, losses = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return probabilities, losses

    def _answer(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = self._source.batch(rows)
        logits = tf.cast(self._network(images, training=False), tf.float32)
        return tf.nn.softmax(logits), tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    def _compute_sums(self, rows: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Sum over certain images; also return each image's loss, and whether it is uncertain (empty if all count)."""
        decides = self._decided_by is None

        def add_batch(batch: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor, each: Any, unsure: Any) -> tuple[Any, ...]:
            begin = batch * self._batch_size
            images, labels = self._source.batch(rows[begin : begin + self._batch_size])
            logits = self._network(images, training=False)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            answers = tf.argmax(logits, axis=-1, output_type=labels.dtype)
            right = answers == labels
            if not decides:
                is_unsure = _is_unsure(logits)
                unsure = unsure.write(batch - first, is_unsure)
                losses, right = tf.where(is_unsure, 0.0, losses), right & ~is_unsure
            correct += tf.reduce_sum(tf.cast(right, tf.int32))
            each = each.write(batch - first, losses)
            return batch + 1, loss + tf.cast(tf.reduce_sum(losses), tf.float64), correct, each, unsure

        each, found = (
            tf.TensorArray(kind, last - first, element_shape=[None], infer_shape=False)
            for kind in (tf.float32, tf.bool)
        )
        start = (first, tf.constant(0.0, tf.float64), tf.constant(0), each, found)
        _, loss, correct, each, found = tf.while_loop(lambda batch, *_: batch < last, add_batch, start)
        return loss, correct, each.concat(), tf.zeros([0], tf.bool) if decides else found.concat()


def make_evaluator(
    spec: JobSpec,
    network: keras.Model,
    source: BatchSource,
    weights: Callable[[], Weights],
    policy: Policy,
    build: Callable[[Policy], keras.Model] | None = None,
) -> Evaluator:
    """Return the object that measures a training after each epoch, with the weights that are kept.

    In bfloat16 the job's own precision is used, and float32 for images of which it is not certain
    (docs/explanation/performance.md). Float16 is too coarse for large values, and normalizations at any depth of an own
    network enlarge what is rounded. There, float32 is used for all images.

    Args:
        network: the network being trained.
        weights: returns the weights that are kept.
        policy: Keras' name for the precision of `network`.
        build: builds the same network again, in another precision; needed if it is not all of `spec.network`.
    """
    assert spec.training.seed is not None
    seed, image, classes = spec.training.seed, network.input_shape[1:], network.output_shape[-1]
    build_again = build or (lambda policy: build_network(spec.network, image, classes, seed, policy))

    gives_probabilities = spec.has_own_objective

    def make_another(policy: Policy) -> Evaluator:
        return Evaluator(build_again(policy), source, weights=weights, gives_probabilities=gives_probabilities)

    if policy == "mixed_float16" or (policy != "float32" and isinstance(spec.network, OwnNetworkSpec)):
        return make_another("float32")
    decided_by = None if policy == "float32" else make_another("float32")
    if spec.training.ema_decay is None:
        return Evaluator(network, source, decided_by=decided_by, gives_probabilities=gives_probabilities)
    return Evaluator(
        build_again(policy), source, weights=weights, decided_by=decided_by, gives_probabilities=gives_probabilities
    )


def _is_unsure(logits: tf.Tensor) -> tf.Tensor:
    """Return the images whose highest logit leads by so little that float32 could give another answer."""
    first, second = tf.unstack(tf.math.top_k(logits, 2).values, axis=-1)
    extent = tf.reduce_mean(first - tf.reduce_min(logits, axis=-1))
    return first - second < MIN_SURE_LEAD * extent


def measure_predictions(
    losses: NDArray[np.float32], probabilities: NDArray[np.float32], labels: NDArray[np.int32]
) -> Measured:
    """Compute figures from (count,) cross-entropies and (count, classes) probabilities of images."""
    if not len(labels):
        return Measured(float("nan"), 0, 0)
    correct = np.count_nonzero(probabilities.argmax(axis=1) == labels)
    return Measured(float(losses.mean(dtype=np.float64)), int(correct), len(labels))


def build_final_figures(
    epoch: int, measured: Mapping[str, Measured], metrics: Mapping[str, dict[str, MetricResult]] = MappingProxyType({})
) -> FinalView:
    """Return the results of the kept weights, of `epoch`; `measured` lacks held-out splits that are not measured.

    Args:
        metrics: of each split, its other metrics.
    """
    train, validation, test = measured["train"], measured.get("validation"), measured.get("test")
    return FinalView(
        epoch=epoch,
        train=_split(train, metrics.get("train", {})),
        validation=validation and _split(validation, metrics.get("validation", {})),
        test=test and _split(test, metrics.get("test", {})),
        gap=GapsView(
            validation=validation and _compute_gap(train, validation), test=test and _compute_gap(train, test)
        ),
    )


def _split(measured: Measured, metrics: dict[str, MetricResult]) -> SplitResult:
    return SplitResult(
        loss=measured.loss,
        accuracy=measured.accuracy,
        count=measured.count,
        interval=compute_wilson_interval(measured.correct, measured.count),
        metrics=metrics,
    )


def _compute_gap(train: Measured, heldout: Measured) -> GapView:
    """Positive if the held-out split is worse."""
    return GapView(accuracy=train.accuracy - heldout.accuracy, loss=heldout.loss - train.loss)


def read_image_names(file: Path | None, data: TrainingData) -> FileNames | None:
    """Return the names of the images; None if they have none, or too few."""
    names = None if file is None else FileNames(file)
    needed = max((int(np.max(rows)) + 1 for rows in data.source.values() if len(rows)), default=0)
    return None if names is None or len(names) < needed else names


def build_evaluation(
    data: TrainingData,
    probabilities: Mapping[str, NDArray[np.float32]],
    last_epoch: LastEpochScores | None = None,
    names: FileNames | None = None,
    columns: Mapping[str, tuple[StoredColumn, ...]] = MappingProxyType({}),
    interventions: Mapping[str, tuple[StoredIntervention, ...]] = MappingProxyType({}),
) -> StoredEvaluation:
    """Compute scores of each split of the dataset.

    Args:
        probabilities: for each split (images, classes), in the order of its rows.
        last_epoch: the cost of the last epoch's weights compared with the kept ones.
        names: the images' names, if they had any.
        columns: results for the values of each column, by split.
        interventions: what exchanges of properties do, by split.
    """
    return StoredEvaluation(
        classes=tuple(data.classes),
        splits={
            cast(SplitName, split): compute_scores(
                of_split, data.labels[data.rows[split]], data.source[split], names
            ).model_copy(update={"columns": columns.get(split, ()), "interventions": interventions.get(split, ())})
            for split, of_split in probabilities.items()
        },
        last_epoch=last_epoch,
    )


def measure_columns(
    columns: Path | None, data: TrainingData, predicted: Mapping[str, Predictions], costs: Costs = None
) -> dict[str, tuple[StoredColumn, ...]]:
    """Compute the results for the values of each column of the dataset, by split; nothing without columns."""
    if columns is None:
        return {}
    answers = {split: data.make_answers(split, predictions) for split, predictions in predicted.items()}
    return measure_groups(read_columns(columns), answers, data.source, costs)
