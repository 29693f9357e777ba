"""A training's curves, whoever recorded them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from reprlib import repr as short
from typing import Any

from heldout.diagnosis.thresholds import MAX_FIGURE

Curve = tuple[float | None, ...]


@dataclass(frozen=True)
class History:
    """One value an epoch; None where it was not finite. An empty curve was not recorded.

    `train_*` and `validation_*` were measured in inference mode on the same weights; `fit_*` are what Keras' fit
    reports. Losses may be on any scale, and the training loss may be of another objective than the validation loss.
    numbers: of each epoch, counted from 1; empty where they are 1, 2, 3 …
    """

    train_loss: Curve = ()
    train_accuracy: Curve = ()
    validation_loss: Curve = ()
    validation_accuracy: Curve = ()
    fit_loss: Curve = ()
    fit_accuracy: Curve = ()
    numbers: tuple[int, ...] = ()

    @property
    def epoch_numbers(self) -> Sequence[int]:
        """What the epoch at each position of the longest curve is called."""
        curves = (self.train_loss, self.train_accuracy, self.validation_loss, self.validation_accuracy)
        return self.numbers or range(1, 1 + max(map(len, (*curves, self.fit_loss, self.fit_accuracy))))

    @property
    def is_measured(self) -> bool:
        """Whether training figures are of inference mode."""
        return bool(self.train_loss or self.train_accuracy)

    @property
    def has_losses(self) -> bool:
        """Whether there is a pair of losses to compare; else accuracies are compared."""
        return bool(self.validation_loss and (self.train_loss or self.fit_loss))

    def losses(self) -> tuple[list[float], list[float], list[float]]:
        """Validation, training (measured, else `fit`'s average), and validation's share of wrong answers.

        Each up to its first value that is not finite. Where there is no pair of losses, shares of wrong answers stand
        for them: smaller is better, too.
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
    """Of the API's `metrics.epochs`; what no epoch has was not recorded.

    Raises:
        ValueError: if a figure is no number.
    """
    names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy")
    recorded = [name for name in names if any(name in epoch for epoch in epochs)]
    curves: dict[str, Any] = {name: tuple(parse_figure(epoch.get(name)) for epoch in epochs) for name in recorded}
    return History(**curves)


def measures_training_at_end(spec: Mapping[str, Any] | None) -> bool:
    """Whether a job with this spec has no training figures of its epochs but those of `fit`."""
    return ((spec or {}).get("evaluation") or {}).get("train") == "final"


def parse_figure(value: object) -> float | None:
    """What was recorded, as a curve holds it: None where it is null, not finite, or larger than any figure is.

    Raises:
        ValueError: if it is no number.
    """
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise ValueError(f"received {short(value)} where a number was expected")
    # Compared before it is converted: whole numbers may be too large for a float.
    return float(value) if abs(value) <= MAX_FIGURE else None


def take_finite(curve: Curve) -> list[float]:
    """The curve up to the first value that is not finite."""
    return [value for value in takewhile(lambda value: value is not None, curve) if value is not None]


def _invert_accuracy(accuracy: Curve) -> Curve:
    return tuple(None if value is None else 1 - value for value in accuracy)
