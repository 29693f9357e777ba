"""Curves and counts with a known cause."""

import math
import random
from typing import Any

from heldout.diagnosis import History
from heldout.diagnosis.evaluation import SplitFigures
from heldout.spec.job import JobSpec
from heldout.stored.evaluation import LastEpochScores, PairedAccuracy, PairedDifference


def falling(epochs: int, floor: float = 0.1, rate: float = 0.4) -> list[float]:
    return [floor + (2.3 - floor) * math.exp(-rate * epoch) for epoch in range(epochs)]


def turning(epochs: int, best: int = 10, rise: float = 0.02) -> list[float]:
    return [loss + rise * max(0, epoch - best) for epoch, loss in enumerate(falling(epochs, 0.2))]


def noisy(curve: list[float], sd: float, seed: int = 0) -> list[float]:
    draw = random.Random(seed)
    return [value + draw.gauss(0, sd) for value in curve]


def history(training: list[float], validation: list[float]) -> History:
    return History(train_loss=tuple(training), validation_loss=tuple(validation))


OVERFIT = history(falling(40, 0.001), turning(40))
RANDOM_LABELS = history(falling(40, 0.001), [2.31 + 0.02 * epoch for epoch in range(40)])
FINE = history(falling(40, 0.05), falling(40, 0.1))


def figures(accuracy: float, count: int, confusion=()) -> SplitFigures:
    return SplitFigures(accuracy, count, confusion=confusion)


def compare_last(
    epoch: int,
    kept_epoch: int,
    split: str,
    count: int,
    accuracy: float,
    accuracy_interval: tuple[float, float],
    p: float,
    loss: float,
    loss_interval: tuple[float, float],
) -> LastEpochScores:
    """Compare the last epoch's weights with the kept ones."""
    return LastEpochScores(
        epoch=epoch,
        kept_epoch=kept_epoch,
        split=split,
        count=count,
        accuracy=PairedAccuracy(difference=accuracy, interval=accuracy_interval, p=p),
        loss=PairedDifference(difference=loss, interval=loss_interval),
    )


def spec(network: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """Make a complete spec of a job: one block of 16 filters, without regularization."""
    given = {"dataset": "digits", "network": {"blocks": [{"filters": 16}]} | (network or {}), **parts}
    return JobSpec.model_validate(given).model_dump(mode="json")
