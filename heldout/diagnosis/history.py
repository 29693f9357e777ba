"""A training's curves, whoever recorded them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any

Curve = tuple[float | None, ...]
# No figure is larger, and sums of the squares of such numbers are finite still.
LARGEST = 1e100


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

    def number(self, place: int) -> int:
        """Of the epoch at a position of the curves, counted from 1."""
        return self.numbers[place] if self.numbers else place + 1

    @property
    def is_measured(self) -> bool:
        """Whether training figures are of inference mode."""
        return bool(self.train_loss or self.train_accuracy)

    @property
    def training_loss(self) -> Curve:
        """The best that is known of the training split: measured, else `fit`'s average."""
        return self.train_loss or self.fit_loss

    @property
    def training_accuracy(self) -> Curve:
        return self.train_accuracy or self.fit_accuracy


def from_epochs(epochs: Sequence[Mapping[str, Any]]) -> History:
    """Of the API's `metrics.epochs`; what no epoch has was not recorded.

    Raises:
        ValueError: if a figure is no number.
    """
    names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy")
    recorded = [name for name in names if any(name in epoch for epoch in epochs)]
    curves: dict[str, Any] = {name: tuple(figure(epoch.get(name)) for epoch in epochs) for name in recorded}
    return History(**curves)


def figure(value: object) -> float | None:
    """What was recorded, as a curve holds it: None where it is null, not finite, or larger than any figure is.

    Raises:
        ValueError: if it is no number.
    """
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise ValueError(f"received {short(value)} where a number was expected")
    # Compared before it is converted: whole numbers may be too large for a float.
    return float(value) if abs(value) <= LARGEST else None
