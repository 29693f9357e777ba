"""Which change of pixel values brings held-out images back to those of training: what is worth trying, and its numbers.

Nothing here reads a label.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.training.pixel_change import ChangeKind, PixelChange, changed_pixels
from worker.training.resident import BatchSource

# Images and pixels of an image that are looked at.
MAX_IMAGES = 1000
MAX_PIXELS = 1024
# Standard deviations of the difference of two means over images. Smaller differences may be chance.
MIN_DIFFERENCE_SIGMAS = 4.0
# Share of the value range. Smaller differences do not matter.
MIN_DIFFERENCE = 0.01
# Share of the distance that a change must leave at most.
MAX_DISTANCE_LEFT = 0.8
# The same for brightness, which brings anything nearer, also what is blurred or noisy. Tried on digits, it left 0.01 to
# 0.28 of the distance of brighter, darker, paler and harder images, and 0.37 to 0.64 of that of blurred and noisy ones.
MAX_DISTANCE_LEFT_BY_BRIGHTNESS = 0.3
# Times the values of training. Less is a matter of brightness.
MIN_SCALE = 4.0
# Factors between usual scales; one of them is meant where the measured factor is near it.
USUAL_SCALES = (255.0, 1 / 255.0)
MAX_FACTOR_FROM_USUAL_SCALE = 1.5
# Share of pixels by which more lie at an end of the range than in training, where values were cut off.
MIN_CUT_OFF = 0.002

_BATCH = 64
_LEVELS = np.linspace(0.005, 0.995, 199)  # of quantiles


@dataclass(frozen=True)
class PixelSample:
    """(images, pixels, channels) float32 raw values of some images."""

    values: NDArray[np.float32]

    @property
    def channels(self) -> int:
        return int(self.values.shape[-1])

    def with_images_of(self, other: "PixelSample") -> "PixelSample":
        return PixelSample(np.concatenate([self.values, other.values]))

    def under(self, change: PixelChange, value_range: tuple[float, float]) -> "PixelSample":
        changed = changed_pixels(self.values, *change.as_tensors(self.channels, value_range))
        return PixelSample(changed.numpy())


def sample_of(source: BatchSource, rows: NDArray[np.int32]) -> PixelSample:
    """Pixels that lie evenly over each image, of images that lie evenly over the rows."""
    rows = rows[evenly(len(rows), MAX_IMAGES)]
    source.expect(rows, _BATCH)
    parts = []
    for begin in range(0, len(rows), _BATCH):
        images = source.pixels(tf.constant(rows[begin : begin + _BATCH])).numpy()
        pixels = images.reshape(len(images), -1, images.shape[-1])
        parts.append(pixels[:, evenly(pixels.shape[1], MAX_PIXELS)].astype(np.float32))
    return PixelSample(np.concatenate(parts))


def evenly(count: int, at_most: int) -> NDArray[np.int64]:
    """Positions of at most so many things of `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, at_most)).round().astype(np.int64))


def changes_worth_trying(
    train: PixelSample, held_out: PixelSample, value_range: tuple[float, float]
) -> list[ChangeKind]:
    """What may undo the difference of held-out images from those of training, simplest first.

    Empty where they do not surely differ, or by so little that it does not matter.
    """
    before, now = _statistics(train), _statistics(held_out)
    if not _differ(before, now, value_range):
        return []
    kinds: list[ChangeKind] = []
    for kind in ("scale", "inversion", "channel_order", "brightness"):
        change = find_change(kind, train, held_out, value_range)
        if change is None:
            continue
        after = _statistics(held_out.under(change, value_range))
        left = MAX_DISTANCE_LEFT_BY_BRIGHTNESS if kind == "brightness" else MAX_DISTANCE_LEFT
        if _distance(before, after) < left * _distance(before, now):
            kinds.append(kind)
    return kinds


def find_change(
    kind: ChangeKind, train: PixelSample, held_out: PixelSample, value_range: tuple[float, float]
) -> PixelChange | None:
    """The change of this kind that brings held-out images nearest to training; None where there is none."""
    low, high = value_range
    match kind:
        case "scale":
            return _scale(train, held_out, low)
        case "inversion":
            return PixelChange("inversion", factor=-1.0, offset=low + high)
        case "channel_order":
            return PixelChange("channel_order", reversed_channels=True) if train.channels == 3 else None
        case "brightness":
            return _brightness(train, held_out, value_range)
        case "none":
            return PixelChange()


def _scale(train: PixelSample, held_out: PixelSample, low: float) -> PixelChange | None:
    """One factor for all values, counted from the lower end of the range."""
    wanted, found = (float(np.quantile(sample.values, 0.999)) - low for sample in (train, held_out))
    if wanted <= 0 or found <= 0 or 1 / MIN_SCALE < wanted / found < MIN_SCALE:
        return None
    factor = wanted / found
    for usual in USUAL_SCALES:
        if 1 / MAX_FACTOR_FROM_USUAL_SCALE < factor / usual < MAX_FACTOR_FROM_USUAL_SCALE:
            factor = usual
    return PixelChange("scale", factor=factor, offset=low - factor * low)


def _brightness(train: PixelSample, held_out: PixelSample, value_range: tuple[float, float]) -> PixelChange | None:
    """Another brightness and contrast for all pixels: by mean and spread, or by what was not cut off at the ends."""
    wanted, found = (np.quantile(sample.values.astype(np.float64), _LEVELS) for sample in (train, held_out))
    changes = [_by_mean_and_spread(train, held_out), _by_quantiles(train, held_out, wanted, found, value_range)]

    def distance(change: PixelChange) -> float:
        changed = held_out.under(change, value_range)
        return float(np.abs(np.quantile(changed.values, _LEVELS) - wanted).mean())

    return min((change for change in changes if change is not None), key=distance, default=None)


def _by_mean_and_spread(train: PixelSample, held_out: PixelSample) -> PixelChange | None:
    spread = float(held_out.values.std(dtype=np.float64))
    if not spread:
        return None
    factor = float(train.values.std(dtype=np.float64)) / spread
    offset = float(train.values.mean(dtype=np.float64)) - factor * float(held_out.values.mean(dtype=np.float64))
    return PixelChange("brightness", factor=factor, offset=offset)


def _by_quantiles(
    train: PixelSample,
    held_out: PixelSample,
    wanted: NDArray[np.float64],
    found: NDArray[np.float64],
    value_range: tuple[float, float],
) -> PixelChange | None:
    """A straight line through the quantiles of both, as far as held-out values lie within the range.

    What was cut off at an end is lost; such pixels get the mean of the training pixels that lie beyond.
    """
    low, high = value_range
    slack = MIN_DIFFERENCE * (high - low) / 10
    inside = (found > low + slack) & (found < high - slack)
    if len(np.unique(found[inside])) < 2:
        return None
    factor, offset = np.polyfit(found[inside], wanted[inside], 1)
    if factor <= 0:
        return None
    cut_high, cut_low = (
        float(end(held_out.values).mean() - end(train.values).mean())
        for end in (lambda values: values >= high, lambda values: values <= low)
    )
    top = bottom = None
    if cut_high > MIN_CUT_OFF:
        lost = np.quantile(train.values, 1 - float((held_out.values >= high).mean()))
        top = float(train.values[train.values >= lost].mean(dtype=np.float64))
    if cut_low > MIN_CUT_OFF:
        lost = np.quantile(train.values, float((held_out.values <= low).mean()))
        bottom = float(train.values[train.values <= lost].mean(dtype=np.float64))
    return PixelChange("brightness", factor=float(factor), offset=float(offset), bottom=bottom, top=top)


def _statistics(sample: PixelSample) -> NDArray[np.float64]:
    """(images, statistics) of each image: each channel's mean, spread, some quantiles, and the balance of colours."""
    values = sample.values.astype(np.float64)
    flat = values.reshape(len(values), -1)
    means = values.mean(axis=1)
    parts = [means, flat.std(axis=1)[:, None], np.quantile(flat, [0.1, 0.5, 0.9], axis=1).T]
    if sample.channels == 3:
        parts.append(means[:, :1] - means[:, 2:])
    return np.concatenate(parts, axis=1)


def _differ(one: NDArray[np.float64], other: NDArray[np.float64], value_range: tuple[float, float]) -> bool:
    """Whether any mean over images differs by more than chance, and by more than does not matter."""
    if len(one) < 2 or len(other) < 2:
        return False
    difference = np.abs(one.mean(axis=0) - other.mean(axis=0))
    error = np.sqrt(one.var(axis=0, ddof=1) / len(one) + other.var(axis=0, ddof=1) / len(other))
    matters = difference > MIN_DIFFERENCE * (value_range[1] - value_range[0])
    return bool((matters & (difference > MIN_DIFFERENCE_SIGMAS * error)).any())


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.abs(one.mean(axis=0) - other.mean(axis=0)).sum())
