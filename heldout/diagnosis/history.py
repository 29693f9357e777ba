"""The curves of a training, whichever program recorded them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from reprlib import repr as short
from typing import Any

from heldout.diagnosis.thresholds import MAX_FIGURE
from heldout.stored.inside import EpochInside

Curve = tuple[float | None, ...]


@dataclass(frozen=True)
class History:
    """Curves with one value per epoch, None for values that were not finite. An empty curve was not recorded.

    `train_*` and `validation_*` were measured in inference mode on the same weights; `fit_*` are what Keras' `fit`
    reports. Losses may be on any scale, and training and validation loss may have different objectives.
    numbers: the number of each epoch, counted from 1; empty if they are 1, 2, 3 …
    looks: what was seen inside the network, by epoch.
    """

    train_loss: Curve = ()
    train_accuracy: Curve = ()
    validation_loss: Curve = ()
    validation_accuracy: Curve = ()
    fit_loss: Curve = ()
    fit_accuracy: Curve = ()
    numbers: tuple[int, ...] = ()
    looks: Mapping[int, EpochInside] = field(default_factory=dict)

    @property
    def epoch_numbers(self) -> Sequence[int]:
        """The number of the epoch at each position of the longest curve."""
        curves = (self.train_loss, self.train_accuracy, self.validation_loss, self.validation_accuracy)
        return self.numbers or range(1, 1 + max(map(len, (*curves, self.fit_loss, self.fit_accuracy))))

    @property
    def is_measured(self) -> bool:
        """Whether training figures were measured in inference mode."""
        return bool(self.train_loss or self.train_accuracy)

    @property
    def has_losses(self) -> bool:
        """Whether there is a pair of losses to compare; otherwise accuracies are compared."""
        return bool(self.validation_loss and (self.train_loss or self.fit_loss))

    def losses(self) -> tuple[list[float], list[float], list[float]]:
        """The losses of validation and training, and validation's share of wrong answers.

        Training is the measured loss if there is one, otherwise `fit`'s. Each curve ends before its first value that is
        not finite. Without a pair of losses, shares of wrong answers replace them: smaller is better there too.
        """
        wrong = _invert_accuracy(self.validation_accuracy)
        if self.has_losses:
            return take_finite(self.validation_loss), take_finite(self.train_loss or self.fit_loss), take_finite(wrong)
        return (
            take_finite(wrong),
            take_finite(_invert_accuracy(self.train_accuracy or self.fit_accuracy)),
            take_finite(wrong),
        )


def read_history(epochs: Sequence[Mapping[str, Any]]) -> History:
    """Read the API's `metrics.epochs`. A figure that no epoch has counts as not recorded.

    Raises:
        ValueError: if a figure is not a number.
    """
    names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy")
    recorded = [name for name in names if any(name in epoch for epoch in epochs)]
    curves: dict[str, Any] = {name: tuple(parse_figure(epoch.get(name)) for epoch in epochs) for name in recorded}
    return History(**curves)


def measures_training_at_end(spec: Mapping[str, Any] | None) -> bool:
    """Whether a job with this spec has only `fit`'s training figures for its epochs."""
    return ((spec or {}).get("evaluation") or {}).get("train") == "final"


def parse_figure(value: object) -> float | None:
    """Convert a recorded value to a curve's value: None if it is null, not finite, or implausibly large.

    Raises:
        ValueError: if it is not a number.
    """
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise ValueError(f"received {short(value)} where a number was expected")
    # Compare before converting: integers may be too large for a float.
    return float(value) if abs(value) <= MAX_FIGURE else None


def take_finite(curve: Curve) -> list[float]:
    """The curve up to the first value that is not finite."""
    return [value for value in takewhile(lambda value: value is not None, curve) if value is not None]


def _invert_accuracy(accuracy: Curve) -> Curve:
    return tuple(None if value is None else 1 - value for value in accuracy)
