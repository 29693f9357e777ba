"""Decides whether held-out accuracy fell, held or rose since the epoch with the lowest loss."""

from dataclasses import dataclass
from math import sqrt
from statistics import fmean

from heldout.diagnosis.noise import estimate_noise
from heldout.diagnosis.thresholds import (
    MAX_ACCURACY_FALL,
    MAX_POSSIBLE_ACCURACY_FALL,
    MIN_ACCURACY_COST,
    MIN_ACCURACY_SIGMAS,
)


@dataclass(frozen=True)
class AccuracyChange:
    """The change of accuracy from the epochs around the best one to the last quarter of the epochs.

    values: the accuracy of each epoch. best: position of the epoch with the lowest loss.
    change: change of the mean; positive if accuracy rose. error: the standard error of `change`.
    level: the mean of the last quarter.
    """

    values: list[float]
    best: int
    change: float
    error: float
    level: float

    @property
    def rose(self) -> bool:
        return self.change > max(MIN_ACCURACY_COST, MIN_ACCURACY_SIGMAS * self.error)

    @property
    def fell(self) -> bool:
        return self.change < -max(MAX_ACCURACY_FALL, MIN_ACCURACY_SIGMAS * self.error)

    @property
    def held(self) -> bool:
        """Whether accuracy rose, or at least did not fall enough to matter."""
        possible_fall = MIN_ACCURACY_SIGMAS * self.error - self.change
        return self.change >= -MAX_ACCURACY_FALL and (self.rose or possible_fall <= MAX_POSSIBLE_ACCURACY_FALL)

    @property
    def best_by_accuracy(self) -> int:
        """Position of the first epoch with the highest accuracy."""
        return max(range(len(self.values)), key=self.values.__getitem__)


def compute_accuracy_change(
    accuracy: list[float], training: list[float], best: int, epochs: int
) -> AccuracyChange | None:
    """Measure the change, or return None if an epoch has no accuracy or the best epoch is the last.

    Args:
        accuracy: validation accuracy, one value per epoch.
        training: training accuracy; movements that both share are not noise of validation.
        best: position of the epoch with the lowest loss.
        epochs: number of epochs with a loss.
    """
    if len(accuracy) < epochs or best >= epochs - 1:
        return None
    values = accuracy[:epochs]
    around = values[max(0, min(best - 1, epochs - 3)) :][:3]
    late = values[best + 1 :][-max(1, epochs // 4) :]
    noise = estimate_noise(values, training)
    error = noise * sqrt(1 / len(around) + 1 / len(late))
    return AccuracyChange(values, best, fmean(late) - fmean(around), error, fmean(late))
