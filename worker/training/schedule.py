"""Learning rates: the rate of each step, and how a plateau lowers it. Pure."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from heldout.spec.job import PlateauSchedule, TrainingSpec

_PLATEAU_MIN_DELTA = 1e-4  # Keras' own default: smaller gains do not count


@dataclass(frozen=True)
class PlateauState:
    """The current rate, the lowest validation loss so far, and the epochs since."""

    rate: float
    best: float | None = None
    wait: int = 0


def compute_epoch_rates(training: TrainingSpec, state: PlateauState, epoch: int, steps: int) -> NDArray[np.float32]:
    """Return (steps,) the learning rate of each step of `epoch`, which counts from 1."""
    first = (epoch - 1) * steps
    rates = [_compute_rate(training, state, step, steps) for step in range(first, first + steps)]
    return np.asarray(rates, np.float32)


def compute_reported_rate(training: TrainingSpec, state: PlateauState, epoch: int, steps: int) -> float:
    """Return the rate of the epoch's last step, as a metric."""
    return _compute_rate(training, state, epoch * steps - 1, steps)


def _compute_rate(training: TrainingSpec, state: PlateauState, step: int, steps: int) -> float:
    """Return the rate of `step`, counted from 0 over the whole training, with `steps` in an epoch."""
    rate = training.schedule.compute_rate(training.optimizer.learning_rate, step, steps, training.epochs)
    return state.rate if rate is None else rate


def lower_on_plateau(training: TrainingSpec, state: PlateauState, validation_loss: float) -> PlateauState:
    """Return the state for the next epoch. Source: `keras.callbacks.ReduceLROnPlateau`."""
    schedule = training.schedule
    if not isinstance(schedule, PlateauSchedule):
        return state
    if state.best is None or validation_loss + _PLATEAU_MIN_DELTA < state.best:
        return replace(state, best=validation_loss, wait=0)
    if state.wait + 1 >= schedule.patience:
        return replace(state, rate=state.rate * schedule.factor, wait=0)
    return replace(state, wait=state.wait + 1)
