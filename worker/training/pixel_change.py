"""A change of raw pixel values that makes images like those of training."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

ChangeKind = Literal["none", "scale", "inversion", "channel_order", "brightness"]


@dataclass(frozen=True)
class PixelChange:
    """`factor * pixel + offset`, cut to the dataset's range. The default changes nothing.

    reversed_channels: the last channel comes first, before anything else.
    bottom, top: the new values of pixels at the lower and upper end of the range, if a brighter or darker set was
    clipped there: the mean of the training pixels that were lost. None if nothing was clipped.
    """

    kind: ChangeKind = "none"
    factor: float = 1.0
    offset: float = 0.0
    reversed_channels: bool = False
    bottom: float | None = None
    top: float | None = None

    @property
    def is_cut_off(self) -> bool:
        """Return whether pixels were clipped at an end of the range."""
        return self.bottom is not None or self.top is not None

    @property
    def parameters(self) -> dict[str, float]:
        """Return the parameters of the change, without those that change nothing."""
        named = {"factor": self.factor, "offset": self.offset, "bottom": self.bottom, "top": self.top}
        idle = {"factor": 1.0, "offset": 0.0, "bottom": None, "top": None}
        return {name: value for name, value in named.items() if value is not None and value != idle[name]}

    def make_tensors(self, channels: int, value_range: tuple[float, float]) -> tuple[tf.Tensor, ...]:
        """Return the arguments of `change_pixels`; shapes are the same for every change, so one graph is enough."""
        low, high = value_range
        order = np.arange(channels)[:: -1 if self.reversed_channels else 1].astype(np.int32)
        nothing = (-np.inf, 0.0), (np.inf, 0.0)  # no pixel is below or above
        cut_low = nothing[0] if self.bottom is None else (low, self.bottom)
        cut_high = nothing[1] if self.top is None else (high, self.top)
        numbers = np.asarray([self.factor, self.offset, *cut_low, *cut_high, low, high], np.float32)
        return tf.constant(order), tf.constant(numbers)


def change_pixels(pixels: tf.Tensor, order: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Apply the change of `PixelChange.make_tensors` to (…, channels) float32 raw pixels."""
    factor, offset, cut_low, bottom, cut_high, top, low, high = tf.unstack(numbers)
    pixels = tf.gather(pixels, order, axis=-1)
    changed = factor * pixels + offset
    changed = tf.where(pixels <= cut_low, bottom, changed)
    changed = tf.where(pixels >= cut_high, top, changed)
    return tf.clip_by_value(changed, low, high)
