"""The progress of a training: the content of a checkpoint besides the weights."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.training.best_weights import BestEpochs, StoppingState
from worker.training.guard import ALL_CURVES, GuardState
from worker.training.schedule import PlateauState


@dataclass(frozen=True)
class FitSums:
    """What Keras' `fit` accumulates over an epoch: objective and right answers, weighted by images. float32."""

    objective: float = 0.0
    correct: float = 0.0
    images: float = 0.0

    @property
    def loss(self) -> float:
        """The running mean that `fit` reports as `loss`: with penalties, class weights and smoothing."""
        return float(np.float32(self.objective) / np.float32(self.images))

    @property
    def accuracy(self) -> float:
        """The running mean that `fit` reports as `accuracy`."""
        return float(np.float32(self.correct) / np.float32(self.images))


@dataclass(frozen=True)
class Position:
    """The progress of a training, and the state of all its decisions."""

    epoch: int = 1  # in progress, from 1
    step: int = 0  # steps of this epoch that are done
    sums: FitSums = field(default_factory=FitSums)  # of these steps
    seconds: float = 0.0  # for these steps
    plateau: PlateauState = field(default_factory=lambda: PlateauState(rate=0.0))
    stopping: StoppingState = field(default_factory=StoppingState)
    guard: GuardState = field(default_factory=GuardState)
    kept: int = 0  # epoch of the weights that would be exported now; 0 before the first epoch is complete
    best: BestEpochs = field(default_factory=BestEpochs)

    @property
    def needed_epochs(self) -> set[int]:
        """Return the epochs whose weights the end of the training needs."""
        return {self.kept, self.best.by_loss, self.best.by_accuracy} - {0}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Position":
        return cls(
            **{
                **stored,
                "best": BestEpochs(**stored.get("best", {})),
                "sums": FitSums(**stored["sums"]),
                "plateau": PlateauState(**stored["plateau"]),
                "stopping": StoppingState(**stored["stopping"]),
                "guard": _guard_from_json(stored.get("guard", {})),
            }
        )


@dataclass(frozen=True)
class LossSums:
    """How hard each training image was to learn: its cross-entropy in inference mode, summed over all epochs.

    sums: (training images,) float32, in nats. epochs: how many of them were summed.
    """

    sums: NDArray[np.float32]
    epochs: int


def _guard_from_json(stored: dict[str, Any]) -> GuardState:
    """Restore the state: JSON turned its tuples into lists."""
    return GuardState(**{**stored, **{name: tuple(stored.get(name, ())) for name in ALL_CURVES}})
