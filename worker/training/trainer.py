"""Trains the epochs of one job, from the first or from a checkpoint: train, measure, decide, write a checkpoint."""

from collections.abc import Callable
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Predictions
from analysis.answers.metrics import contribute
from heldout.spec.job import JobSpec
from worker import messages
from worker.training.data.training_data import TrainingData
from worker.training.engine import training_policy
from worker.training.engine.checkpoint import (
    CheckpointDamaged,
    LossSums,
    Position,
    describe_fault,
    read_checkpoint,
    warn_of_other_facts,
    write_checkpoint,
)
from worker.training.engine.engine import Engine
from worker.training.measuring.evaluate import Evaluator
from worker.training.measuring.inside import Looker, Looks
from worker.training.second_phase import SecondPhase

# The longest part of an epoch that can be lost with its worker.
CHECKPOINT_EVERY_S = 300.0


class Trainer:
    """Trains one job from its position to its end.

    Args:
        scratch: folder for checkpoints.
        send: takes the messages for the supervisor.
        requested_stop: returns the reason of a requested stop, else None; called between graph calls.
        checkpoint_every_s: how long an epoch may run before its state is written.
        facts: what must be equal for a resumed training to give the same bits.
        after_tracing: called once, after the graph of the steps is traced; then others may be traced in a thread.
        second_phase: what trains from some epoch on.
        looks_inside: whether to look inside the network before the first step and after epochs.
    """

    def __init__(
        self,
        spec: JobSpec,
        data: TrainingData,
        engine: Engine,
        evaluator: Evaluator,
        *,
        scratch: Path,
        send: Callable[[messages.FromTraining], None],
        requested_stop: Callable[[], messages.StopCause | None] = lambda: None,
        checkpoint_every_s: float = CHECKPOINT_EVERY_S,
        facts: dict[str, Any] | None = None,
        after_tracing: Callable[[], None] = lambda: None,
        second_phase: SecondPhase | None = None,
        looks_inside: bool = True,
    ) -> None:
        self.position = Position(plateau=training_policy.PlateauState(rate=spec.training.optimizer.learning_rate))
        self._spec = spec
        self._data = data
        self._engine = engine
        self._evaluator = evaluator
        self._scratch = scratch
        self._send = send
        self._requested_stop = requested_stop
        self._facts = facts or {}
        self._after_tracing = after_tracing
        self._second_phase = second_phase
        self._traced = False
        self._steady = training_policy.SteadySteps()
        self._checkpoint_every_s = checkpoint_every_s
        self._written_at = perf_counter()
        self._weights: dict[int, training_policy.Weights] = {}  # of the needed epochs
        # None if training images are not measured, or were not from the first epoch.
        self.loss_sums: LossSums | None = None
        if spec.evaluation.train == "every_epoch":
            self.loss_sums = LossSums(np.zeros(len(data.rows["train"]), np.float32), 0)
        self._pace = training_policy.StepPace()
        self._looks = self._make_looks() if looks_inside else Looks(None, spec, data.rows["train"])
        self._first_step_sent = False
        self._written: list[Path] = []

    @property
    def started(self) -> bool:
        """Whether any step was ever taken."""
        return self.position.epoch > 1 or self.position.step > 0

    @property
    def ended_early(self) -> bool:
        """Whether early stopping or the guard against overfitting has ended the training."""
        return self.position.stopping.stopped or self.position.guard.stopped

    @property
    def last_epoch(self) -> int | None:
        """Return the epoch after which the network has its weights; None during an epoch."""
        return self.position.epoch - 1 if self.position.step == 0 else None

    def train(self) -> None:
        """Train until the last epoch, or until early stopping or the guard ends it.

        Raises:
            StopRequested: between two calls; `write` then stores the exact position.
            Diverged: after an epoch, whose figures were reported.
        """
        while self.position.epoch <= self._spec.training.epochs and not self.ended_early:
            self._train_epoch()
            self._end_epoch()

    def get_trained_weights(self) -> training_policy.TrainedWeights:
        """Return the weights of this training; called at its end."""
        last = {} if not self.last_epoch else {self.last_epoch: self._engine.weights()}
        best = self.position.best
        return training_policy.TrainedWeights(
            epochs=self.position.epoch - 1,
            kept=self.position.kept,
            best_by_loss=best.by_loss,
            best_by_accuracy=best.by_accuracy,
            of_epoch=last | self._weights,
        )

    def _begin_second_phase(self) -> None:
        """Train with engine, evaluator and data of the second phase from here on, in the state of the first."""
        assert self._second_phase is not None
        self._engine, self._evaluator, self._data = self._second_phase.begin(self._engine)
        self._second_phase = None
        self._looks = self._make_looks()
        self._traced, self._pace = False, training_policy.StepPace()
        self._after_tracing = lambda: None

    def write(self) -> Path:
        """Write all state into a checkpoint file in `scratch`; returns its path.

        Raises:
            OSError: if it could not be written.
        """
        position = self.position
        arrays = {f"variable_{index}": value for index, value in enumerate(self._engine.state())}
        # The weights of the last epoch are in the engine's state.
        arrays |= training_policy.convert_to_arrays(
            {e: weights for e, weights in self._weights.items() if e != self.last_epoch}
        )
        if self.loss_sums is not None:
            arrays["loss_sums"] = self.loss_sums.sums
        path = self._scratch / f"checkpoint-{position.epoch:05d}-{position.step:08d}.ckpt"
        write_checkpoint(path, arrays, {"position": asdict(position), "facts": self._facts})
        self._written_at = perf_counter()
        self._written = [*(old for old in self._written if old != path), path]
        for old in self._written[:-2]:
            old.unlink(missing_ok=True)
        return path

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of the same job.

        Raises:
            CheckpointDamaged: if the file is incomplete or does not fit this job's network.
        """
        arrays, about = read_checkpoint(path)
        count = sum(name.startswith("variable_") for name in arrays)
        try:
            position = Position.from_json(about["position"])
        except KeyError as missing:
            raise CheckpointDamaged(path, "was written by an earlier release") from missing
        if self._second_phase is not None and self._second_phase.has_begun(position):
            self._begin_second_phase()
        try:
            self._engine.restore([arrays[f"variable_{index}"] for index in range(count)])
        except (KeyError, ValueError) as error:
            raise CheckpointDamaged(path, "belongs to another network") from error
        self.position = position
        if self.loss_sums is not None:
            sums = arrays.get("loss_sums")  # checkpoints of earlier releases have none
            self.loss_sums = None if sums is None else LossSums(sums, position.epoch - 1)
        try:
            self._weights = {
                epoch: self._engine.weights()
                if epoch == self.last_epoch
                else training_policy.convert_from_arrays(arrays, epoch)
                for epoch in position.needed_epochs
            }
        except KeyError as missing:
            raise CheckpointDamaged(path, "lacks the weights of an epoch that it needs") from missing
        if (warning := warn_of_other_facts(about["facts"], self._facts)) is not None:
            self._send(warning)

    def _train_epoch(self) -> None:
        training, steps, epoch = self._spec.training, self._engine.steps_per_epoch, self.position.epoch
        rates = training_policy.compute_epoch_rates(training, self.position.plateau, epoch, steps)
        if self._second_phase is not None and self._second_phase.epoch == epoch:
            self._begin_second_phase()
        if not self.started:
            self.position = replace(self.position, start=self._looks.look_at_start())
        if self.position.step < steps:
            self._engine.begin_epoch(epoch, rates)
            self._trace()
        while self.position.step < steps:
            first = self.position.step
            last = min(self._looks.find_next_stop(epoch, first, steps), first + self._pace.steps)
            started = perf_counter()
            with self._looks.watch_step(epoch, first, steps):
                sums = self._engine.run(first, last, self.position.sums)
            seconds = perf_counter() - started
            self._steady = self._steady.after(self._pace, last - first, seconds)
            self._pace = self._pace.after(last - first, seconds)
            self.position = replace(self.position, step=last, sums=sums, seconds=self.position.seconds + seconds)
            if not self._first_step_sent:
                self._send(messages.FirstStep())
                self._first_step_sent = True
            self._check_stop()
            if last < steps and perf_counter() - self._written_at >= self._checkpoint_every_s:
                self._write_within_epoch(epoch)

    def _trace(self) -> None:
        """Trace the steps once, before the first call, in which TensorFlow optimizes their graph on one core."""
        if not self._traced:
            self._engine.trace()
            self._traced = True
            self._after_tracing()

    def _end_epoch(self) -> None:
        """Measure the epoch, decide by its figures, keep the weights, and report it."""
        epoch, training = self.position.epoch, self._spec.training
        values, train_losses = self._measure()
        self._evaluator.wait()
        inside = self._looks.look_after(epoch, self.position.start)
        usual_s = self._steady.epoch_s(self._engine.steps_per_epoch, values["seconds"]) + values["evaluation_seconds"]
        self._steady = training_policy.SteadySteps()
        if broken := [name for name, value in values.items() if not isfinite(value)]:
            self._send(messages.EpochDone(epoch, training_policy.report_figures(values), None, inside=inside))
            raise training_policy.Diverged(epoch, broken)
        early = training.early_stopping
        monitored, objective = self._spec.monitored, self._spec.objective
        value = values[monitored] if early else 0.0
        sign = training_policy.get_sign(monitored, objective)
        stopped = training_policy.judge_epoch(early, self.position.stopping, epoch, value, sign)
        kept = training_policy.get_kept_epoch(early, stopped, epoch)
        guard = self._watch(values)
        best, plateau = self.position.best, self.position.plateau
        if self._spec.has_validation:
            best = best.after(epoch, values["validation_loss"], values["validation_accuracy"])
            followed = self._spec.followed
            value = training_policy.get_sign(followed, objective) * values[followed]
            plateau = training_policy.lower_on_plateau(training, plateau, value)
        if training.on_overfit == "stop_and_restore" and (guard.stopped or early is None):
            kept = best.by_loss
        self.position = Position(
            epoch=epoch + 1,
            plateau=plateau,
            stopping=stopped,
            guard=guard,
            kept=kept,
            best=best,
            start=self.position.start if inside is None else None,
        )
        if self.loss_sums is not None:
            self.loss_sums = LossSums(self.loss_sums.sums + train_losses, epoch)
        needed = self.position.needed_epochs
        self._weights = {e: weights for e, weights in self._weights.items() if e in needed}
        if epoch in needed:
            self._weights[epoch] = self._engine.weights()
        file = self._write_or_warn(f"after epoch {epoch}", epoch)
        self._send(messages.EpochDone(epoch, training_policy.report_figures(values), file, usual_s, inside))

    def _make_looks(self) -> Looks:
        looker = None if self._engine.has_copies else Looker(self._engine.network, self._engine.read)
        return Looks(looker, self._spec, self._data.rows["train"])

    def _watch(self, values: dict[str, float]) -> training_policy.GuardState:
        """Apply the guard to an epoch. It is reported before a checkpoint holds it: better twice than never."""
        mode, before = self._spec.training.on_overfit, self.position.guard
        if self._spec.training.loss.name == "focal":  # not comparable with the measured cross-entropy
            values = {name: value for name, value in values.items() if name != "fit_loss"}
        guard = training_policy.watch_epoch(mode, before, values)
        if guard.seen and not before.seen:
            self._send(
                messages.Overfits(guard.seen, guard.best_epoch, training_policy.find_explanation(mode, guard) or "")
            )
        return guard

    def _measure(self) -> tuple[dict[str, float], NDArray[np.float32]]:
        """Return the contract's figures of the epoch just trained, and each training image's loss, if measured."""
        training, position, steps = self._spec.training, self.position, self._engine.steps_per_epoch
        started = perf_counter()
        values: dict[str, float] = {}
        train_losses = np.empty(0, np.float32)
        asked = self._spec.evaluation
        if asked.recount_batch_norm:
            self._evaluator.wait()
            self._engine.recount(self._check_stop)
        splits = {
            "train": asked.train == "every_epoch",
            "validation": self._spec.has_validation,
            "test": asked.test == "every_epoch",
        }
        for split in (split for split, is_measured in splits.items() if is_measured):
            measured, each = self._evaluator.measure_each(self._data.rows[split], self._check_stop)
            if split == "validation" and self._spec.has_own_objective:
                values["validation_objective"] = self._measure_objective()
            train_losses = each if split == "train" else train_losses
            values |= {f"{split}_loss": measured.loss, f"{split}_accuracy": measured.accuracy}
        values |= {
            "fit_loss": position.sums.loss,
            "fit_accuracy": position.sums.accuracy,
            "learning_rate": training_policy.compute_reported_rate(training, position.plateau, position.epoch, steps),
            "seconds": position.seconds,
            "evaluation_seconds": perf_counter() - started,
            "images_per_second": len(self._data.rows["train"]) / position.seconds,
        }
        return values, train_losses

    def _measure_objective(self) -> float:
        """Return the objective on the validation images; NaN if they cannot have it."""
        rows = self._data.rows["validation"]
        probabilities, losses = self._evaluator.predict(rows, self._check_stop)
        answers = self._data.make_answers("validation", Predictions(probabilities, losses))
        assert self._spec.objective is not None
        return contribute(self._spec.objective, answers, self._spec.costs).value

    def _write_within_epoch(self, epoch: int) -> None:
        file = self._write_or_warn(f"in epoch {epoch}", epoch)
        if file is not None:
            self._send(messages.CheckpointWritten(file, epoch - 1, self.position.step))

    def _write_or_warn(self, when: str, epoch: int) -> Path | None:
        self._written_at = perf_counter()  # a full disk is not retried at each call
        try:
            return self.write()
        except OSError as error:
            self._send(
                messages.Warned(
                    f"No checkpoint could be written {when} ({describe_fault(error)}); training continues.",
                    {"epoch": epoch},
                )
            )
            return None

    def _check_stop(self) -> None:
        why = self._requested_stop()
        if why is not None:
            raise training_policy.StopRequested(why)
