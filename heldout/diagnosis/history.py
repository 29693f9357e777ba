"""A training's curves, whoever recorded them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

Curve = tuple[float | None, ...]


@dataclass(frozen=True)
class History:
    """One value an epoch; None where it was not finite. An empty curve was not recorded.

    `train_*` and `validation_*` were measured in inference mode on the same weights; `fit_*` are what Keras' fit
    reports. Losses may be on any scale, and the training loss may be of another objective than the validation loss.
    """

    train_loss: Curve = ()
    train_accuracy: Curve = ()
    validation_loss: Curve = ()
    validation_accuracy: Curve = ()
    fit_loss: Curve = ()
    fit_accuracy: Curve = ()

    @property
    def epochs(self) -> int:
        return max(
            map(len, (self.validation_loss, self.validation_accuracy, self.training_loss, self.training_accuracy))
        )

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
    """Of the API's `metrics.epochs`."""
    names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy")
    return History(**{name: _curve(epoch.get(name) for epoch in epochs) for name in names})


def _curve(values: Any) -> Curve:
    return tuple(None if value is None or not isfinite(value) else float(value) for value in values)
