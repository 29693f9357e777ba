"""Trainings as the worker runs them, judged on validation images and on referee images that they never see."""

import gc
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.arrays.folds import compute_job_splits
from benchmarks.cures.record import Training
from benchmarks.cures.sets import StudySet
from benchmarks.diagnosis.trained import Judge
from heldout.spec.job import JobSpec
from worker.messages import EpochDone, FromTraining
from worker.training.data.training_data import ResidentData, TrainingData
from worker.training.engine.engine import Engine
from worker.training.measuring.evaluate import Evaluator, Measured
from worker.training.networks.network import build_network
from worker.training.trainer import Trainer


def one_thread() -> None:
    """Use one core, so that results are the same bits each time. Call it before the first training."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    gc.freeze()  # what is imported by now is not searched for garbage before each training


class _Trainer(Trainer):
    """A trainer without checkpoints, because trainings here are short."""

    def _write_or_warn(self, when: str, epoch: int) -> str | None:
        return None


class _Evaluator(Evaluator):
    """An evaluator that measures the training images at the end only: nothing here decides by them."""

    def measure(self, rows: NDArray[np.int32], between_calls: Callable[[], None] = lambda: None) -> Measured:
        if rows is self.left_out:
            return Measured(0.0, 0, len(rows))
        return super().measure(rows, between_calls)

    left_out: NDArray[np.int32] | None = None


class Arm:
    """The base or a remedy, built once for all its seeds and folds: building takes longer than a small training.

    Every training starts from variables of its own seed, as if its network had been built for it.

    Args:
        spec: of any seed and fold. With `augmentation.erasing`, only those of its own fold can be trained: what fills
            the rectangles is the mean of the training images, and belongs to the graph.
    """

    def __init__(self, spec: JobSpec, studied: StudySet) -> None:
        keras.backend.clear_session()
        self._studied = studied
        images, own = studied.images, studied.images.splits
        self._pool = np.sort(np.concatenate([own["train"], own["validation"]]))
        self._fold = spec.validation
        self._data = TrainingData(
            images=images.images[self._pool],
            labels=images.labels[self._pool],
            rows={},
            source={},
            classes=images.classes,
            value_range=images.value_range,
            class_weights=None,
        )
        self._data = self._data_of(spec)
        self._network = self._built(spec)
        self._source = ResidentData(self._data)
        self._engine = Engine(self._network, self._data, self._source, spec, 1)
        if spec.training.ema_decay is None:
            self._evaluator = _Evaluator(self._network, self._source)
        else:
            self._evaluator = _Evaluator(self._built(spec), self._source, weights=self._engine.weights)
        self._judge = Judge(self._network, images)
        self._first_state = [variable.numpy() for variable in self._engine.optimizer.variables]

    def can_train(self, spec: JobSpec) -> bool:
        """Return whether `spec`, of the same arm, has everything that the graph fixes."""
        return self._fold == spec.validation or not (spec.augmentation and spec.augmentation.erasing)

    def train(self, name: str, seed: int, spec: JobSpec) -> Training:
        """Train one seed, and return how well the kept weights do.

        Args:
            name, seed: of the training in its study.
        Raises:
            Diverged: a figure was not finite.
        """
        assert spec.training.seed is not None
        assert self.can_train(spec)
        data, engine, studied = self._data_of(spec), self._engine, self._studied
        # What an engine that is built for this seed would differ in.
        engine._seed, engine._training, engine._data = spec.training.seed, spec.training, data
        engine.steps_per_epoch = -(-len(data.rows["train"]) // spec.training.batch_size)
        for variable, value in zip(self._network.variables, self._built(spec).variables, strict=True):
            variable.assign(value)
        for variable, value in zip(engine.optimizer.variables, self._first_state, strict=True):
            variable.assign(value)
        epochs: list[dict[str, Any]] = []
        ends: list[float] = []

        def tell(message: FromTraining) -> None:
            if isinstance(message, EpochDone):
                epochs.append(dict(message.values))
                ends.append(process_time())

        with tempfile.TemporaryDirectory(prefix="heldout-bench-", dir=_memory()) as scratch:
            self._evaluator.left_out = data.rows["train"]
            trainer = _Trainer(spec, data, engine, self._evaluator, scratch=Path(scratch), send=tell)
            trainer.train()
        trained = trainer.get_trained_weights()
        self._network.set_weights(trained.of_epoch[trained.kept])
        train_losses, train_chances = self._judge.outputs(data.source["train"])
        rows = data.source["validation"]
        losses, chances = self._judge.outputs(rows)
        referee_losses, referee_chances = self._judge.outputs(studied.referee)
        return Training(
            arm=name,
            seed=seed,
            training_seed=spec.training.seed,
            fold=None if spec.validation is None else spec.validation.model_dump(),
            rows=rows,
            losses=losses,
            correct=chances.argmax(axis=1) == studied.images.labels[rows],
            referee_losses=referee_losses,
            referee_correct=referee_chances.argmax(axis=1) == studied.images.labels[studied.referee],
            epoch=trained.kept,
            epochs=len(epochs),
            train_loss=float(train_losses.mean(dtype=np.float64)),
            train_accuracy=float((train_chances.argmax(axis=1) == studied.images.labels[data.source["train"]]).mean()),
            validation_curve=np.array([[epoch["validation_loss"], epoch["validation_accuracy"]] for epoch in epochs]),
            # The first epoch of an arm also builds its graph, so it counts as the others do on average.
            seconds=(ends[-1] - ends[0]) * len(ends) / (len(ends) - 1),
        )

    def _built(self, spec: JobSpec) -> keras.Model:
        assert spec.training.seed is not None
        images = self._studied.images
        return build_network(spec.network, images.shape, len(images.classes), spec.training.seed)

    def _data_of(self, spec: JobSpec) -> TrainingData:
        """The same images, with this job's own rows."""
        images = self._studied.images
        source = compute_job_splits(images.labels, images.splits, spec, None)
        taken = {split: source[split] for split in ("train", "validation")}
        rows = {split: np.searchsorted(self._pool, places).astype(np.int32) for split, places in taken.items()}
        return replace(self._data, rows=rows, source=taken)


def _memory() -> str | None:
    """A folder in memory, if there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
