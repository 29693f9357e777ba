"""One training of the collection, run as the worker runs it, with a referee that measures after each epoch."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.answers.temperature import compute_scores
from analysis.arrays.dataset import ImageSet
from analysis.arrays.relations import Relations
from benchmarks.diagnosis.conditions import Condition
from benchmarks.diagnosis.record import HISTORY, Record
from benchmarks.diagnosis.sets import planted_set
from heldout.spec.job import JobSpec
from worker.ingest.audit import IngestedDataset, audit, compare_splits, look_again
from worker.ingest.audit.copies import build_relations, find_copies
from worker.ingest.audit.scan import scan
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool
from worker.messages import EpochDone, FromTraining
from worker.training.data.training_data import ResidentData, TrainingData, select
from worker.training.engine.checkpoint import LossSums
from worker.training.engine.engine import Engine
from worker.training.engine.training_policy import BestEpochs, Diverged, TrainedWeights, Weights
from worker.training.exports.exported_model import build_exported
from worker.training.measuring.evaluate import Evaluator, build_final_figures, measure_predictions
from worker.training.measuring.gap import measure_gap
from worker.training.measuring.predictor import Predictor
from worker.training.networks.network import build_network
from worker.training.trainer import Trainer

LEVEL = 3  # epochs whose mean is a level
BATCH = 100


class Enough(Exception):
    """Raised when everything after the last epoch of the history is known."""


@dataclass
class Watched:
    """What is seen of a training.

    history: its epochs. losses, right: the referee's loss of each of its images after each epoch, and whether it was
        answered rightly, also after the history has ended. final, recalls: figures after the history's last epoch.
    best: the best epochs of the history on validation. weights: of these epochs and of the last one.
    train_losses: of the training images, summed over the history's epochs.
    """

    history: list[dict[str, float | None]] = field(default_factory=list)
    losses: list[NDArray[np.float32]] = field(default_factory=list)
    right: list[NDArray[np.bool_]] = field(default_factory=list)
    final: dict[str, Any] | None = None
    recalls: list[float | None] = field(default_factory=list)
    best: BestEpochs = field(default_factory=BestEpochs)
    weights: dict[int, Weights] = field(default_factory=dict)
    train_losses: LossSums | None = None

    def keep_weights(self, epoch: int, network: keras.Model) -> None:
        """Keep the weights of the epoch that has just ended, and drop those that are no longer among the best."""
        loss, accuracy = (self.history[-1][f"validation_{name}"] for name in ("loss", "accuracy"))
        assert loss is not None
        assert accuracy is not None
        self.best = self.best.after(epoch, loss, accuracy)
        needed = {self.best.by_loss, self.best.by_accuracy}
        self.weights = {of: weights for of, weights in self.weights.items() if of in needed}
        self.weights[epoch] = network.get_weights()


def train(condition: Condition) -> Record:
    """Train under `condition`, and for half as many epochs again, which only the referee sees.

    With a schedule that ends at a rate of zero, the longer training differs from the start.
    """
    keras.backend.clear_session()
    planted = planted_set(condition)
    images = planted.images
    ends = condition.schedule == "cosine"
    longer = condition.epochs + max(2, condition.epochs // 2)
    parts = Parts(_with_epochs(condition, condition.epochs if ends else longer), condition.seed, images)
    untrained = parts.evaluator.measure(parts.data.rows["train"]).loss
    seen = Watched()

    def tell(message: FromTraining) -> None:
        if not isinstance(message, EpochDone):
            return
        if message.epoch <= condition.epochs:
            seen.history.append({name: message.values[name] for name in HISTORY})
        if None in message.values.values():
            return
        losses, answers = parts.judge.predictions("referee")
        labels = images.labels[images.splits["referee"]]
        seen.losses.append(losses)
        seen.right.append(answers == labels)
        if message.epoch <= condition.epochs:
            seen.keep_weights(message.epoch, parts.network)
        if message.epoch == condition.epochs:
            seen.final = kept_figures(parts.judge, parts.data, images, message.epoch)
            seen.train_losses = parts.train_losses
            right = np.bincount(labels[answers == labels], minlength=len(images.classes))
            seen.recalls = (right / np.bincount(labels, minlength=len(images.classes))).tolist()
            if has_turned(seen.losses):
                raise Enough

    parts.run(tell)
    if ends and seen.final is not None and not has_turned(seen.losses):
        again = Parts(_with_epochs(condition, longer), condition.seed, images)

        def tell_end(message: FromTraining) -> None:
            if isinstance(message, EpochDone) and message.epoch > longer - LEVEL:
                seen.losses.append(again.judge.predictions("referee")[0])

        again.run(tell_end)
    return Record(
        condition=asdict(condition),
        history={name: [epoch[name] for epoch in seen.history] for name in HISTORY},
        kept=seen.final,
        audit=audit_of(images),
        untrained_loss=untrained,
        referee=_referee(seen, condition.epochs),
        gap=None if seen.final is None else measured_gap(parts, planted.relations, seen, condition.epochs),
    ).rounded()


def _with_epochs(condition: Condition, epochs: int) -> JobSpec:
    spec = condition.spec
    return spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": epochs})})


class Parts:
    """One training's parts in this process, as the worker puts them together."""

    def __init__(self, spec: JobSpec, seed: int, images: ImageSet) -> None:
        self.spec = spec
        self.images = images
        self.data = select(images, spec)
        self.network = build_network(spec.network, images.shape, len(images.classes), seed)
        self.source = ResidentData(self.data)
        self.evaluator = Evaluator(self.network, self.source)
        self.judge = Judge(self.network, images)
        self._trainer: Trainer | None = None

    @property
    def train_losses(self) -> LossSums | None:
        """Return the losses of the training images so far."""
        return None if self._trainer is None else self._trainer.loss_sums

    @property
    def trained_weights(self) -> TrainedWeights:
        """Return the weights of the training that has ended."""
        assert self._trainer is not None
        return self._trainer.get_trained_weights()

    def run(self, tell: Callable[[FromTraining], None]) -> None:
        """Train to the end, to a divergence, or until `tell` has seen enough."""
        engine = Engine(self.network, self.data, self.source, self.spec, 1)
        with tempfile.TemporaryDirectory(prefix="heldout-bench-", dir=_memory()) as scratch:
            self._trainer = Trainer(self.spec, self.data, engine, self.evaluator, scratch=Path(scratch), send=tell)
            with suppress(Enough, Diverged):
                self._trainer.train()


class Judge:
    """Losses and answers of single images with the current weights."""

    def __init__(self, network: keras.Model, images: ImageSet) -> None:
        self._network = network
        self._images = images
        shape = [None, *images.shape]
        signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec([None], tf.int32)]
        self._call = tf.function(self._of_batch, autograph=False, input_signature=signature)

    def predictions(self, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(count,) cross-entropies, and (count,) classes that were named."""
        logits_losses, chances = self.outputs(self._images.splits[split])
        return logits_losses, chances.argmax(axis=1)

    def outputs(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.answers(self._images.images[rows], self._images.labels[rows])

    def answers(
        self, images: NDArray[np.uint8], labels: NDArray[np.int32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(count,) cross-entropies, and (count, classes) probabilities."""
        losses, chances = [], []
        for begin in range(0, len(images), BATCH):
            low, high = np.float32(self._images.value_range)
            pixels = (images[begin : begin + BATCH].astype(np.float32) - low) / (high - low)
            loss, chance = self._call(tf.constant(pixels), tf.constant(labels[begin : begin + BATCH]))
            losses.append(loss.numpy())
            chances.append(chance.numpy())
        return np.concatenate(losses), np.concatenate(chances)

    def _of_batch(self, pixels: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = self._network(pixels, training=False)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), tf.nn.softmax(logits)


def kept_figures(judge: Judge, data: TrainingData, images: ImageSet, epoch: int) -> dict[str, Any]:
    """`metrics.final` of the last weights and the confusion matrices, as the service stores them."""
    measured, confusion = {}, {}
    for split in ("train", "validation", "test"):
        rows = data.source[split]
        losses, chances = judge.outputs(rows)
        labels = images.labels[rows]
        measured[split] = measure_predictions(losses, chances, labels)
        confusion[split] = compute_scores(chances, labels, rows).model_dump(mode="json")["confusion"]
    return {"final": build_final_figures(epoch, measured).model_dump(mode="json"), "confusion": confusion}


def measured_gap(
    parts: Parts, relations: Relations | None, seen: Watched, epochs: int, *, try_pixels: bool = True
) -> dict[str, Any] | None:
    """Return what the worker measures for a training of this many epochs, whose last weights are in the network.

    Args:
        relations: which images are copies; None if that is unknown.
    """
    parts.network.set_weights(seen.weights[epochs])
    predictor = Predictor(
        build_exported(parts.spec.network, parts.data, parts.network), parts.source, parts.data.value_range
    )
    kept = {split: predictor.predict(rows) for split, rows in parts.data.rows.items()}
    weights = TrainedWeights(epochs, epochs, seen.best.by_loss, seen.best.by_accuracy, seen.weights)
    gap = measure_gap(predictor, parts.data, weights, kept, relations, try_pixels=try_pixels, losses=seen.train_losses)
    return None if gap is None else gap.model_dump(mode="json")


def has_turned(losses: list[NDArray[np.float32]]) -> bool:
    """Return whether the referee's loss is so far above its lowest that training was certainly long enough."""
    best = int(np.argmin([loss.mean() for loss in losses]))
    excess, error = compared_means(losses[-1], losses[best])
    return excess > 4 * error and excess > 0.1 * float(losses[best].mean())


def compared_means(one: NDArray[Any], other: NDArray[Any]) -> tuple[float, float]:
    """Return the mean difference of two figures over the same images, and its standard error."""
    difference = one.astype(np.float64) - other.astype(np.float64)
    return float(difference.mean()), float(difference.std(ddof=1) / len(difference) ** 0.5)


def _referee(seen: Watched, epochs: int) -> dict[str, Any]:
    """The referee's figures of each epoch, beyond the history's too, and the paired comparisons that truth needs."""
    losses = seen.losses
    if not losses:
        return {"count": 0, "loss": [], "accuracy": [], "error": [], "recalls": []}
    within = losses[:epochs]
    mean = [float(loss.mean(dtype=np.float64)) for loss in losses]
    best = int(np.argmin(mean[:epochs]))
    lowest = _level(within, best)
    last = np.mean(within[-LEVEL:], axis=0)
    found: dict[str, Any] = {
        "count": len(losses[0]),
        "loss": mean,
        "accuracy": [float(right.mean()) for right in seen.right],
        # Standard error of each epoch's loss less the lowest one, over the same images.
        "error": [compared_means(loss, losses[best])[1] for loss in losses],
        "level_excess": compared_means(last, lowest),
        # Standard error of the lowest loss itself.
        "lowest_error": float(losses[best].std(ddof=1) / len(losses[best]) ** 0.5),
        "recalls": seen.recalls,
    }
    if len(seen.right) >= epochs:
        # Change from the epoch of the lowest loss to the history's last one, over the same images.
        found["accuracy_change"] = compared_means(seen.right[epochs - 1], seen.right[best])
    if len(losses) > epochs:
        found["gained"] = compared_means(last, np.mean(losses[epochs:][-LEVEL:], axis=0))
    return found


def _level(losses: list[NDArray[np.float32]], place: int) -> NDArray[np.float32]:
    """The mean loss of each image over the epochs around `place`."""
    begin = min(max(0, place - LEVEL // 2), max(0, len(losses) - LEVEL))
    return np.mean(losses[begin : begin + LEVEL], axis=0)


def audit_of(images: ImageSet) -> list[dict[str, Any]]:
    """What the audit of an upload of these three splits would find, without its examples."""
    return audit_with_relations(images)[0]


def audit_with_relations(images: ImageSet) -> tuple[list[dict[str, Any]], Relations]:
    """The same, and which of all images it takes for copies; those of other splits are alone."""
    names = ("train", "validation", "test")
    rows = np.concatenate([images.splits[name] for name in names])
    ends = np.cumsum([len(images.splits[name]) for name in names])
    splits = dict(zip(names, np.split(np.arange(len(rows)), ends[:-1]), strict=True))
    with tempfile.TemporaryDirectory(prefix="heldout-bench-", dir=_memory()) as folder, ProcessPool(1) as workers:
        pixels = Pixels.create(Path(folder, "images.npy"), (len(rows), *images.shape), images.images.dtype)
        pixels.write(0, np.ascontiguousarray(images.images[rows]).tobytes())
        dataset = IngestedDataset(
            pixels, images.labels[rows], splits, images.classes, [""] * len(rows), images.value_range
        )
        seen = scan(dataset, workers)
        copies = find_copies(dataset, seen, workers)
        compared = compare_splits(dataset, workers)
        copies = look_again(dataset, compared.undone_by, copies, workers)
        found = audit(dataset, seen, copies, compared).findings
    copy_of = np.arange(len(images.labels), dtype=np.int32)
    copy_of[rows] = rows[build_relations(copies, None).copy_of]
    kept = ("code", "severity", "numbers", "explanation", "what_to_do")
    return [{name: getattr(one, name) for name in kept} for one in found], Relations(copy_of)


def _memory() -> str | None:
    """Where files lie in memory, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
