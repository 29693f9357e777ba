"""The best epochs on validation, early stopping, and the weights that are kept. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from heldout.spec.job import EarlyStoppingSpec, TrainingSpec
from worker.training.guard import GuardState


@dataclass(frozen=True)
class StoppingState:
    """The best monitored figure, its epoch, the epochs since, and whether the training ends here."""

    best: float | None = None
    best_epoch: int = 0
    wait: int = 0
    stopped: bool = False


def judge_epoch(spec: EarlyStoppingSpec | None, state: StoppingState, epoch: int, value: float) -> StoppingState:
    """Return the state after `epoch` (from 1) gave `value` for the monitored figure.

    Source: `keras.callbacks.EarlyStopping`.
    """
    if spec is None:
        return state
    if state.best is None or _is_better(spec, value, state.best):
        return StoppingState(best=value, best_epoch=epoch)
    waited = state.wait + 1
    return replace(state, wait=waited, stopped=waited >= spec.patience)


def get_kept_epoch(spec: EarlyStoppingSpec | None, state: StoppingState, epoch: int) -> int:
    """Return the epoch whose weights the job keeps if it ends after `epoch`."""
    return state.best_epoch if spec is not None and spec.restore_best else epoch


def _is_better(spec: EarlyStoppingSpec, value: float, best: float) -> bool:
    if spec.monitor == "validation_loss":
        return value + spec.min_delta < best
    return value - spec.min_delta > best


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
    """Weights of some epochs under names for a checkpoint."""
    return {
        f"epoch_{epoch}_{index}": weight for epoch, of_epoch in weights.items() for index, weight in enumerate(of_epoch)
    }


def convert_from_arrays(arrays: Mapping[str, NDArray[Any]], epoch: int) -> Weights:
    """The weights of an epoch from a checkpoint.

    Raises:
        KeyError: if it does not have them.
    """
    count = max(1, sum(name.startswith(f"epoch_{epoch}_") for name in arrays))
    return [arrays[f"epoch_{epoch}_{index}"] for index in range(count)]


def convert_from_older_release(
    training: TrainingSpec,
    stopping: StoppingState,
    guard: GuardState,
    kept: int,
    arrays: Mapping[str, NDArray[Any]],
) -> tuple[BestEpochs, dict[str, NDArray[Any]]]:
    """Read best epochs, and arrays under today's names, from a checkpoint of a release that did not track best epochs.

    Such a release had the weights of an epoch other than the last only for early stopping or the guard. Where neither
    tells, the best epoch is looked for from here on.
    """
    best = BestEpochs()
    early = training.early_stopping
    if training.on_overfit == "stop_and_restore" and guard.validation_loss:
        best = BestEpochs(by_loss=guard.best_epoch, loss=min(guard.validation_loss))
    elif early is not None and early.restore_best and early.monitor == "validation_loss" and stopping.best_epoch:
        best = BestEpochs(by_loss=stopping.best_epoch, loss=stopping.best)
    if early is not None and early.restore_best and early.monitor == "validation_accuracy" and stopping.best_epoch:
        best = replace(best, by_accuracy=stopping.best_epoch, accuracy=stopping.best)
    prefixes = {"best_": f"epoch_{guard.best_epoch}_", "kept_": f"epoch_{kept}_"}
    renamed = {}
    for name, array in arrays.items():
        prefix = next((old for old in prefixes if name.startswith(old)), None)
        renamed[name if prefix is None else prefixes[prefix] + name.removeprefix(prefix)] = array
    return best, renamed
