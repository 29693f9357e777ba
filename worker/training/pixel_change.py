"""A change of raw pixel values that brings images back to how those of training were made."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

ChangeKind = Literal["none", "scale", "inversion", "channel_order", "brightness"]


@dataclass(frozen=True)
class PixelChange:
    """`factor * pixel + offset`, cut to the dataset's range. The default changes nothing.

    reversed_channels: the last channel comes first, before anything else.
    bottom, top: what pixels at the lower and at the upper end of the range become, where a brighter or darker set was
        cut off there: the mean of the training pixels that were lost. None where nothing was cut off.
    """

    kind: ChangeKind = "none"
    factor: float = 1.0
    offset: float = 0.0
    reversed_channels: bool = False
    bottom: float | None = None
    top: float | None = None

    @property
    def is_cut_off(self) -> bool:
        """Whether pixels at an end of the range have lost what was beyond."""
        return self.bottom is not None or self.top is not None

    @property
    def parameters(self) -> dict[str, float]:
        """The numbers of the change, without those that change nothing."""
        named = {"factor": self.factor, "offset": self.offset, "bottom": self.bottom, "top": self.top}
        idle = {"factor": 1.0, "offset": 0.0, "bottom": None, "top": None}
        return {name: value for name, value in named.items() if value is not None and value != idle[name]}

    def make_tensors(self, channels: int, value_range: tuple[float, float]) -> tuple[tf.Tensor, ...]:
        """The arguments of `change_pixels`, the same shapes for every change, so that one graph serves all."""
        low, high = value_range
        order = np.arange(channels)[:: -1 if self.reversed_channels else 1].astype(np.int32)
        nothing = (-np.inf, 0.0), (np.inf, 0.0)  # no pixel is below or above
        cut_low = nothing[0] if self.bottom is None else (low, self.bottom)
        cut_high = nothing[1] if self.top is None else (high, self.top)
        numbers = np.asarray([self.factor, self.offset, *cut_low, *cut_high, low, high], np.float32)
        return tf.constant(order), tf.constant(numbers)


def change_pixels(pixels: tf.Tensor, order: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """(…, channels) float32 raw pixels under the change that `PixelChange.make_tensors` describes."""
    factor, offset, cut_low, bottom, cut_high, top, low, high = tf.unstack(numbers)
    pixels = tf.gather(pixels, order, axis=-1)
    changed = factor * pixels + offset
    changed = tf.where(pixels <= cut_low, bottom, changed)
    changed = tf.where(pixels >= cut_high, top, changed)
    return tf.clip_by_value(changed, low, high)
