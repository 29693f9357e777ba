"""The learning curves of an arm: the mean and the band over its trainings for each epoch."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

from heldout.views.study_report import BandView, EpochBandView

MAX_POINTS = 120  # more than a picture can show


class EpochFigures(NamedTuple):
    """One epoch of one training. A figure is None if it was not measured or is not finite."""

    epoch: int
    train_accuracy: float | None
    validation_accuracy: float | None
    train_loss: float | None
    validation_loss: float | None


def build_curve(jobs: Sequence[str], epochs: Mapping[str, Sequence[EpochFigures]]) -> list[EpochBandView]:
    """The bands of these trainings.

    Args:
        epochs: of each job, in order.
    """
    by_epoch: dict[int, list[EpochFigures]] = {}
    for job in jobs:
        for figures in epochs.get(job, ()):
            by_epoch.setdefault(figures.epoch, []).append(figures)
    numbers = sorted(by_epoch)
    return [_build_point(number, by_epoch[number]) for number in _thin_out(numbers)]


def _thin_out(numbers: Sequence[int]) -> list[int]:
    """At most MAX_POINTS of the items, evenly spread, with the first and the last one."""
    if len(numbers) <= MAX_POINTS:
        return list(numbers)
    last = len(numbers) - 1
    places = sorted({round(step * last / (MAX_POINTS - 1)) for step in range(MAX_POINTS)})
    return [numbers[place] for place in places]


def _build_point(epoch: int, figures: Sequence[EpochFigures]) -> EpochBandView:
    return EpochBandView(
        epoch=epoch,
        trainings=len(figures),
        train_accuracy=_build_band(measured.train_accuracy for measured in figures),
        validation_accuracy=_build_band(measured.validation_accuracy for measured in figures),
        train_loss=_build_band(measured.train_loss for measured in figures),
        validation_loss=_build_band(measured.validation_loss for measured in figures),
    )


def _build_band(values: Iterable[float | None]) -> BandView | None:
    known = [value for value in values if value is not None and isfinite(value)]
    if not known:
        return None
    return BandView(mean=sum(known) / len(known), low=min(known), high=max(known))
