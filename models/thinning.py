"""Thins out long histories so that their curves look the same."""

from collections.abc import Sequence
from math import isfinite
from typing import Protocol, TypeVar

MIN_POINTS = 10


class MeasuredEpoch(Protocol):
    """The losses that thinning uses: the validation loss, or the training loss without one."""

    train_loss: float | None
    validation_loss: float | None


Epoch = TypeVar("Epoch", bound=MeasuredEpoch)


def thin_out(epochs: Sequence[Epoch], points: int) -> list[Epoch]:
    """Keep at most `points` epochs: the first, last and best one, and the lowest and highest of each stretch.

    Args:
        points: at least MIN_POINTS. Shorter histories are kept completely.
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
    """Treat a missing loss as a peak, so that a diverging training stays visible."""
    loss = epoch.train_loss if epoch.validation_loss is None else epoch.validation_loss
    return loss if loss is not None and isfinite(loss) else float("inf")
