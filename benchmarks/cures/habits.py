"""How people choose a remedy today, on the same trainings that a study would have used."""

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.cures import replay
from benchmarks.cures.conditions import Condition
from benchmarks.cures.record import Training
from benchmarks.cures.truth import FOR_TEST, blocks
from heldout.studies.spec import BASE_ARM

# The accuracy of a training, and what decides between equal ones: its loss with a minus.
Score = Callable[[Training], tuple[float, float]]


def on_test(training: Training) -> tuple[float, float]:
    """A training's score on the referee images that do not judge."""
    accuracy, loss = (float(blocks(training, measure, FOR_TEST).mean()) for measure in ("accuracy", "loss"))
    return accuracy, -loss


def on_validation(training: Training) -> tuple[float, float]:
    """A training's score on its validation images, with the kept weights."""
    return float(training.correct.mean()), -float(training.losses.mean(dtype=np.float64))


def best_run(condition: Condition, seeds: Sequence[int], score: Score) -> str:
    """The arm, perhaps the base, with the best single training among these seeds."""
    grid = replay.grid(condition)
    arms = (BASE_ARM, *replay.remedies(condition))
    return max(arms, key=lambda arm: max(score(grid[arm, seed]) for seed in seeds))


def best_mean(condition: Condition, seeds: Sequence[int], score: Score) -> str:
    """The arm, perhaps the base, with the best mean over these seeds."""
    grid = replay.grid(condition)
    arms = (BASE_ARM, *replay.remedies(condition))
    return max(arms, key=lambda arm: tuple(np.mean([score(grid[arm, seed]) for seed in seeds], axis=0)))


HABITS: dict[str, Callable[[Condition, Sequence[int], int], str]] = {
    "one run each, best test score": lambda one, order, runs: best_run(one, order[:1], on_test),
    "one run each, best validation score": lambda one, order, runs: best_run(one, order[:1], on_validation),
    "as many trainings, best test score": lambda one, order, runs: best_run(one, order[:runs], on_test),
    "as many trainings, best validation score": lambda one, order, runs: best_run(one, order[:runs], on_validation),
    "as many trainings, best mean on validation": lambda one, order, runs: best_mean(one, order[:runs], on_validation),
}
