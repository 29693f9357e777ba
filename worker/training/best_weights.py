"""Which epochs were best on validation, and the weights by which a finished training is judged. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from heldout.spec.job import TrainingSpec
from worker.training.guard import GuardState
from worker.training.stopping import StoppingState

Weights = list[NDArray[Any]]


@dataclass(frozen=True)
class BestEpochs:
    """The best epochs so far by each validation metric, counted from 1, the earliest on ties; 0 where none is known."""

    by_loss: int = 0
    loss: float | None = None
    by_accuracy: int = 0
    accuracy: float | None = None

    def after(self, epoch: int, loss: float, accuracy: float) -> "BestEpochs":
        """The best epochs once `epoch` gave this validation loss and accuracy."""
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

    epochs: how many whole epochs were trained.
    kept, best_by_loss, best_by_accuracy: epochs from 1; 0 where there is none.
    of_epoch: the weights of these epochs, and of the last one unless the training ended within the next.
    """

    epochs: int
    kept: int
    best_by_loss: int
    best_by_accuracy: int
    of_epoch: Mapping[int, Weights]


def weights_as_arrays(weights: Mapping[int, Weights]) -> dict[str, NDArray[Any]]:
    """Weights of some epochs under names for a checkpoint."""
    return {
        f"epoch_{epoch}_{index}": weight for epoch, of_epoch in weights.items() for index, weight in enumerate(of_epoch)
    }


def weights_from_arrays(arrays: Mapping[str, NDArray[Any]], epoch: int, count: int) -> Weights:
    """The `count` weights of an epoch from a checkpoint.

    Raises:
        KeyError: if it does not have them.
    """
    return [arrays[f"epoch_{epoch}_{index}"] for index in range(count)]


def from_older_release(
    training: TrainingSpec,
    stopping: StoppingState,
    guard: GuardState,
    kept: int,
    arrays: Mapping[str, NDArray[Any]],
) -> tuple[BestEpochs, dict[str, NDArray[Any]]]:
    """What a checkpoint of a release that did not follow best epochs knows of them, and its arrays under today's names.

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
