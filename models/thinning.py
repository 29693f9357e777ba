"""Fewer epochs of a long history, such that a curve drawn through them looks as it does through all."""

from collections.abc import Sequence
from math import isfinite
from typing import Protocol, TypeVar

MIN_POINTS = 10


class MeasuredEpoch(Protocol):
    """What thinning looks at: the validation loss, or the training loss where there is none."""

    train_loss: float | None
    validation_loss: float | None


Epoch = TypeVar("Epoch", bound=MeasuredEpoch)


def thin_out(epochs: Sequence[Epoch], points: int) -> list[Epoch]:
    """At most `points` of the epochs, in order: first, last and best, and of each stretch the lowest and the highest.

    Args:
        points: at least MIN_POINTS. Where there are no more epochs than that, all of them stay.
    """
    if len(epochs) <= points:
        return list(epochs)
    heights = [_get_height(epoch) for epoch in epochs]
    places = range(len(epochs))
    kept = {0, len(epochs) - 1, min(places, key=heights.__getitem__)}
    stretches = (points - len(kept)) // 2
    for stretch in range(stretches):
        begin, end = (len(epochs) * edge // stretches for edge in (stretch, stretch + 1))
        kept |= {min(places[begin:end], key=heights.__getitem__), max(places[begin:end], key=heights.__getitem__)}
    return [epochs[place] for place in sorted(kept)]


def _get_height(epoch: MeasuredEpoch) -> float:
    """A loss that is not known is a peak: a training that diverges is seen."""
    loss = epoch.train_loss if epoch.validation_loss is None else epoch.validation_loss
    return loss if loss is not None and isfinite(loss) else float("inf")
