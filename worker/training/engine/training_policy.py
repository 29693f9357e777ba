"""The decisions of a training between graph calls and after epochs: rates, kept weights, guard, pace, stops. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heldout.diagnosis.curves import choose_curves
from heldout.diagnosis.history import History
from heldout.diagnosis.rules.rising import find_reason_to_stop, find_reason_to_warn
from heldout.metrics import METRICS, Measure
from heldout.spec.job import EarlyStoppingSpec, TrainingSpec
from heldout.spec.objective import MonitoredFigure
from heldout.spec.optimization import PlateauSchedule
from heldout.stored.results import drop_not_finite
from worker.messages import StopCause

_PLATEAU_MIN_DELTA = 1e-4  # Keras' own default: smaller gains do not count


@dataclass(frozen=True)
class PlateauState:
    """The current rate, the best followed figure so far, and the epochs since."""

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


def lower_on_plateau(training: TrainingSpec, state: PlateauState, value: float) -> PlateauState:
    """Return the state for the next epoch. Source: `keras.callbacks.ReduceLROnPlateau`.

    Args:
        value: the figure that the schedule follows, with its sign changed if more is better.
    """
    schedule = training.schedule
    if not isinstance(schedule, PlateauSchedule):
        return state
    if state.best is None or value + _PLATEAU_MIN_DELTA < state.best:
        return replace(state, best=value, wait=0)
    if state.wait + 1 >= schedule.patience:
        return replace(state, rate=state.rate * schedule.factor, wait=0)
    return replace(state, wait=state.wait + 1)


Mode = Literal["none", "warn", "stop", "stop_and_restore"]

# The figures of an epoch that the guard uses, and the same if the training split is only measured at the end.
CURVES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
CURVES_WITH_FIT = ("fit_loss", "fit_accuracy", "validation_loss", "validation_accuracy")
ALL_CURVES = tuple(dict.fromkeys((*CURVES, *CURVES_WITH_FIT)))


@dataclass(frozen=True)
class GuardState:
    """The figures of each epoch so far, the epoch after which a rise was first seen (0: not yet), and the end."""

    train_loss: tuple[float, ...] = ()
    train_accuracy: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    validation_accuracy: tuple[float, ...] = ()
    fit_loss: tuple[float, ...] = ()
    fit_accuracy: tuple[float, ...] = ()
    seen: int = 0
    stopped: bool = False

    @property
    def best_epoch(self) -> int:
        """The epoch of the lowest validation loss, from 1; 0 before the first."""
        if not self.validation_loss:
            return 0
        return min(range(len(self.validation_loss)), key=self.validation_loss.__getitem__) + 1


def watch_epoch(mode: Mode, state: GuardState, values: Mapping[str, float]) -> GuardState:
    """Return the state after one more measured epoch; a rising loss is noted once.

    Args:
        values: the epoch's figures by name, as in `CURVES` or `CURVES_WITH_FIT`; `fit_loss` may be absent.
    """
    if mode == "none":
        return state
    names = CURVES if "train_loss" in values else CURVES_WITH_FIT
    grown: dict[str, tuple[float, ...]] = {
        name: (*getattr(state, name), values[name]) for name in names if name in values
    }
    state = GuardState(**grown, seen=state.seen, stopped=state.stopped)
    if state.seen or find_explanation(mode, state) is None:
        return state
    return replace(state, seen=len(state.validation_loss), stopped=mode != "warn")


def find_explanation(mode: Mode, state: GuardState) -> str | None:
    """Return the reason to warn or stop because of these figures, or None. Each mode has its own rule."""
    curves = choose_curves(History(**{name: getattr(state, name) for name in ALL_CURVES}))
    return find_reason_to_warn(curves) if mode == "warn" else find_reason_to_stop(curves)


def get_sign(figure: MonitoredFigure, objective: Measure | None) -> int:
    """Return 1 if a figure of an epoch gets better by falling, else -1."""
    is_share = figure != "validation_loss"
    if figure == "validation_objective" and objective is not None:
        is_share = METRICS[objective].is_share
    return -1 if is_share else 1


@dataclass(frozen=True)
class StoppingState:
    """The best monitored figure, its epoch, the epochs since, and whether the training ends here."""

    best: float | None = None
    best_epoch: int = 0
    wait: int = 0
    stopped: bool = False


def judge_epoch(
    spec: EarlyStoppingSpec | None, state: StoppingState, epoch: int, value: float, sign: int
) -> StoppingState:
    """Return the state after `epoch` (from 1) gave `value` for the monitored figure.

    Args:
        sign: 1 for a figure that gets better by falling, such as a loss, and -1 for one that gets better by rising.
    Source: `keras.callbacks.EarlyStopping`.
    """
    if spec is None:
        return state
    if state.best is None or sign * value + spec.min_delta < sign * state.best:
        return StoppingState(best=value, best_epoch=epoch)
    waited = state.wait + 1
    return replace(state, wait=waited, stopped=waited >= spec.patience)


def get_kept_epoch(spec: EarlyStoppingSpec | None, state: StoppingState, epoch: int) -> int:
    """Return the epoch whose weights the job keeps if it ends after `epoch`."""
    return state.best_epoch if spec is not None and spec.restore_best else epoch


Weights = list[NDArray[Any]]


@dataclass(frozen=True)
class BestEpochs:
    """The best epochs so far by each validation metric, counted from 1, the earliest on ties; 0 if unknown."""

    by_loss: int = 0
    loss: float | None = None
    by_accuracy: int = 0
    accuracy: float | None = None

    def after(self, epoch: int, loss: float, accuracy: float) -> "BestEpochs":
        """Return the best epochs after `epoch` gave this validation loss and accuracy."""
        by_loss, lowest = self.by_loss, self.loss
        if lowest is None or loss < lowest:
            by_loss, lowest = epoch, loss
        by_accuracy, highest = self.by_accuracy, self.accuracy
        if highest is None or accuracy > highest:
            by_accuracy, highest = epoch, accuracy
        return BestEpochs(by_loss, lowest, by_accuracy, highest)


@dataclass(frozen=True)
class TrainedWeights:
    """The weights of a training that has ended.

    epochs: how many complete epochs were trained.
    kept, best_by_loss, best_by_accuracy: epochs from 1; 0 if unknown.
    of_epoch: the weights of these epochs, and of the last one unless the training ended during the next.
    """

    epochs: int
    kept: int
    best_by_loss: int
    best_by_accuracy: int
    of_epoch: Mapping[int, Weights]


def convert_to_arrays(weights: Mapping[int, Weights]) -> dict[str, NDArray[Any]]:
    """Name the weights of some epochs for a checkpoint."""
    return {
        f"epoch_{epoch}_{index}": weight for epoch, of_epoch in weights.items() for index, weight in enumerate(of_epoch)
    }


def convert_from_arrays(arrays: Mapping[str, NDArray[Any]], epoch: int) -> Weights:
    """Read the weights of an epoch from a checkpoint.

    Raises:
        KeyError: if it does not have them.
    """
    count = max(1, sum(name.startswith(f"epoch_{epoch}_") for name in arrays))
    return [arrays[f"epoch_{epoch}_{index}"] for index in range(count)]


CALL_S = 0.5
_MAX_GROWTH = 8  # calls vary while caches and threads warm up


@dataclass(frozen=True)
class SteadySteps:
    """Steps of an epoch in calls without tracing, and their seconds."""

    steps: int = 0
    seconds: float = 0.0

    def after(self, pace: "StepPace", steps: int, seconds: float) -> "SteadySteps":
        """Add a call of `steps` under `pace`; the first call is left out, because it traces, too."""
        return SteadySteps(self.steps + steps, self.seconds + seconds) if pace.traced else self

    def epoch_s(self, steps_per_epoch: int, measured_s: float) -> float:
        """Return seconds of such an epoch without tracing; as measured if it had only one call."""
        return self.seconds / self.steps * steps_per_epoch if self.steps else measured_s


@dataclass(frozen=True)
class StepPace:
    """Return the number of steps of the next call; the first has one, because it also traces the graph."""

    steps: int = 1
    traced: bool = False

    def after(self, steps: int, seconds: float) -> "StepPace":
        """Return the pace after a call of `steps` took `seconds`."""
        if not self.traced:
            return StepPace(steps=4, traced=True)
        if steps == 1 < self.steps:  # a step that is measured by itself says nothing about calls of many
            return self
        fitting = CALL_S * steps / max(seconds, 1e-6)
        return StepPace(steps=max(1, int(min(fitting, steps * _MAX_GROWTH))), traced=True)


def report_figures(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return an epoch's figures as reported; those of training are null if they are only measured at the end."""
    unmeasured: dict[str, float | None] = {"train_loss": None, "train_accuracy": None}
    return unmeasured | {name: drop_not_finite(value) for name, value in values.items()}


class StopRequested(Exception):
    """The supervisor requests a stop; raised between two graph calls, when the state is complete."""

    def __init__(self, why: StopCause) -> None:
        super().__init__(why)
        self.why = why


class Diverged(Exception):
    """An epoch had a figure that is not finite."""

    def __init__(self, epoch: int, figures: list[str]) -> None:
        super().__init__(
            f"Epoch {epoch}: {', '.join(figures)} {'is' if len(figures) == 1 else 'are'} not finite. "
            "Try a lower learning rate."
        )
