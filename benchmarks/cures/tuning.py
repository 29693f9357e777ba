"""What Optuna and KerasTuner choose if their trials are looked up among the recorded trainings.

Both packages run unchanged with their default settings; only trainings are looked up. They must be installed, and are
not dependencies of Heldout: `benchmarks.cures.tuners` says what to install.
"""

import random
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import keras
import keras_tuner
import numpy as np
import optuna

from benchmarks.cures import replay
from benchmarks.cures.conditions import SEEDS, Condition
from benchmarks.cures.record import Training
from benchmarks.cures.truth import MEASURES, Measure
from heldout.studies.spec import BASE_ARM

MAX_TRIALS = 50  # of Optuna, which may ask for the same remedies again and again
ITERATIONS = 100  # of Hyperband: more than any budget lasts for
OBJECTIVES: dict[Measure, str] = {"loss": "val_loss", "accuracy": "val_accuracy"}


@dataclass(frozen=True)
class Choice:
    """The arm of a tuner's best trial, and the share of the budget that its trials used."""

    arm: str
    used: float


def arms_of(condition: Condition) -> list[str]:
    """The arms that a tuner chooses from."""
    return [BASE_ARM, *replay.remedies(condition)]


def optuna_choice(condition: Condition, seeds: Sequence[int], measure: Measure, budget: int, draw: int) -> Choice:
    """The arm of the best trial of Optuna's TPE with its Wilcoxon pruner.

    A trial is an arm, trained with one seed after the other until the pruner ends it; its value is the mean over them,
    as the pruner's documentation advises. The base is the first trial. Trainings that an earlier trial has made are
    free. The trial at whose trainings the budget ends does not count.

    Args:
        seeds: of a trial that is not pruned.
        budget: trainings.
        draw: the seed of TPE, and of the order of seeds within trials.
    """
    grid, made = replay.grid(condition), set[tuple[str, int]]()
    shuffle = random.Random(draw)

    def objective(trial: optuna.Trial) -> float:
        arm, values = trial.suggest_categorical("remedy", arms_of(condition)), []
        for seed in shuffle.sample(seeds, len(seeds)):
            if (arm, seed) not in made and len(made) == budget:
                trial.study.stop()
                raise optuna.TrialPruned
            made.add((arm, seed))
            values.append(validation_figure(grid[arm, seed], measure))
            trial.report(values[-1], seed)
            if trial.should_prune():
                break
        return float(np.mean(values))

    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=draw), pruner=optuna.pruners.WilcoxonPruner(), direction="minimize"
    )
    study.enqueue_trial({"remedy": BASE_ARM})
    study.optimize(objective, n_trials=MAX_TRIALS)
    return Choice(str(study.best_params["remedy"]), len(made) / budget)


def hyperband_choice(condition: Condition, measure: Measure, budget: int, draw: int) -> Choice:
    """Return the arm of the best trial of KerasTuner's Hyperband.

    The seed of training is a second parameter. With the remedy alone, there are fewer different trials than the first
    bracket needs, and Hyperband ends after one or two epochs of each.

    Args:
        budget: epochs.
        draw: the seed of Hyperband.
    """
    space = keras_tuner.HyperParameters()
    space.Choice("remedy", arms_of(condition))
    space.Choice("seed", [*SEEDS])
    with tempfile.TemporaryDirectory() as folder:
        tuner = _Replayed(
            condition,
            budget,
            measure,
            hyperband_iterations=ITERATIONS,
            hyperparameters=space,
            seed=draw,
            directory=folder,
        )
        with suppress(_BudgetSpent):
            tuner.search(verbose=0)
        return Choice(str(tuner.get_best_hyperparameters()[0]["remedy"]), tuner.epochs / budget)


class _BudgetSpent(keras_tuner.errors.FatalError):
    """The next trial would take more epochs than are left."""


class _Replayed(keras_tuner.Hyperband):
    """Hyperband on recorded curves. A trial that continues an earlier one only runs the epochs that follow."""

    def __init__(self, condition: Condition, budget: int, measure: Measure, **settings: object) -> None:
        super().__init__(objective=OBJECTIVES[measure], max_epochs=condition.epochs, **settings)
        self.epochs = 0  # of all trials
        self._grid, self._budget, self._measure = replay.grid(condition), budget, measure

    def run_trial(self, trial: keras_tuner.engine.trial.Trial, **_: object) -> keras.callbacks.History:
        values = trial.hyperparameters.values
        training = self._grid[values["remedy"], values["seed"]]
        curve = training.validation_curve[values["tuner/initial_epoch"] : values["tuner/epochs"]]
        if self.epochs + len(curve) > self._budget:
            raise _BudgetSpent
        self.epochs += len(curve)
        if not len(curve):  # Early stopping has ended it before.
            curve = training.validation_curve[training.epoch - 1 :][:1]
        history = keras.callbacks.History()
        history.history = {OBJECTIVES[self._measure]: curve[:, MEASURES.index(self._measure)].tolist()}
        return history


def validation_figure(training: Training, measure: Measure) -> float:
    """A training's mean loss on validation, or its share of wrong answers, with the kept weights."""
    return float(training.losses.mean(dtype=np.float64) if measure == "loss" else 1 - training.correct.mean())
