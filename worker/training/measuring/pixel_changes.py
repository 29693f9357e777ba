"""Changes of pixels that make held-out images like those of training, and how they are found without labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.stored.gap import Turn
from worker.training.data.training_data import BatchSource

ValueChange = Literal["none", "scale", "inversion", "channel_order", "brightness"]
ChangeKind = ValueChange | Turn
# Whether rows and columns are swapped, and then rows reversed, and columns reversed.
_TURNS: Mapping[ChangeKind, tuple[bool, bool, bool]] = {
    "transpose": (True, False, False),
    "turn_left": (True, True, False),
    "turn_right": (True, False, True),
    "upside_down": (False, True, True),
    "flip_vertical": (False, True, False),
    "flip_horizontal": (False, False, True),
}


@dataclass(frozen=True)
class PixelChange:
    """`factor * pixel + offset`, cut to the dataset's range; or images turned or mirrored. The default changes nothing.

    kind: of a `Turn`, nothing else is set.
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
        """Return the arguments of `change_images`; shapes are the same for every change, so one graph is enough."""
        low, high = value_range
        order = np.arange(channels)[:: -1 if self.reversed_channels else 1].astype(np.int32)
        nothing = (-np.inf, 0.0), (np.inf, 0.0)  # no pixel is below or above
        cut_low = nothing[0] if self.bottom is None else (low, self.bottom)
        cut_high = nothing[1] if self.top is None else (high, self.top)
        numbers = np.asarray([self.factor, self.offset, *cut_low, *cut_high, low, high], np.float32)
        turn = _TURNS.get(self.kind, (False, False, False))
        return tf.constant(turn), tf.constant(order), tf.constant(numbers)


def change_images(images: tf.Tensor, turn: tf.Tensor, order: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Apply the change of `PixelChange.make_tensors` to (images, height, width, channels) float32 raw pixels."""
    turned = tf.cond(turn[0], lambda: tf.transpose(images, [0, 2, 1, 3]), lambda: images)
    turned = tf.cond(turn[1], lambda: turned[:, ::-1], lambda: turned)
    turned = tf.cond(turn[2], lambda: turned[:, :, ::-1], lambda: turned)
    # Only square images are transposed.
    return change_pixels(tf.ensure_shape(turned, images.shape), order, numbers)


def change_pixels(pixels: tf.Tensor, order: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Apply the change of `PixelChange.make_tensors`, but for its turn, to (…, channels) float32 raw pixels."""
    factor, offset, cut_low, bottom, cut_high, top, low, high = tf.unstack(numbers)
    pixels = tf.gather(pixels, order, axis=-1)
    changed = factor * pixels + offset
    changed = tf.where(pixels <= cut_low, bottom, changed)
    changed = tf.where(pixels >= cut_high, top, changed)
    return tf.clip_by_value(changed, low, high)


# Images, and pixels per image, that are used.
MAX_IMAGES = 1000
MAX_PIXELS = 1024
# Standard deviations of the difference of two means over images. Smaller differences may be chance.
MIN_DIFFERENCE_SIGMAS = 4.0
# The same before single images are examined.
MIN_SUSPECT_SIGMAS = 2.0
# Share of the value range. Smaller differences do not matter.
MIN_DIFFERENCE = 0.01
# The largest share of the distance that a change may leave.
MAX_DISTANCE_LEFT = 0.8
# The same for brightness in noisy or clipped images, where it reduces the distance of noise, too. On digits, it left
# 0.01 to 0.28 of the distance of images with other brightness and contrast, and 0.37 to 0.64 of noisy ones.
MAX_DISTANCE_LEFT_BY_BRIGHTNESS = 0.3
# Multiple of the difference between neighboring pixels in training. Images that stay rougher are noisy.
MAX_ROUGHNESS = 1.3
# Standard errors by which the spread of single pixels may differ from the spread expected from image means. Beyond
# that, the images are blurred or noisy.
MAX_SPREAD_SIGMAS = 2.0
# Multiple of the values of training. Less is a difference of brightness.
MIN_SCALE = 4.0
# Factors between usual scales; a measured factor near one of them means that scale.
USUAL_SCALES = (255.0, 1 / 255.0)
MAX_FACTOR_FROM_USUAL_SCALE = 1.5
# Excess share of pixels at an end of the range, compared with training, if values were clipped. Fewer do not matter,
# and brighter images that are also blurred have some.
MIN_CUT_OFF = 0.02

_BATCH = 64
_LEVELS = np.linspace(0.005, 0.995, 199)  # of quantiles


@dataclass(frozen=True)
class PixelSample:
    """(images, pixels, channels) float32 raw values of some images, and the range of the dataset's values."""

    values: NDArray[np.float32]
    value_range: tuple[float, float]

    @property
    def channels(self) -> int:
        return int(self.values.shape[-1])

    @cached_property
    def statistics(self) -> NDArray[np.float64]:
        """(images, statistics): each channel's mean, spread, some quantiles, and the color balance."""
        flat = self.values.reshape(len(self.values), -1)
        means = self.values.mean(axis=1, dtype=np.float64)
        parts = [means, flat.std(axis=1, dtype=np.float64)[:, None], compute_quantiles(flat, (0.1, 0.5, 0.9))]
        if self.channels == 3:
            parts.append(means[:, :1] - means[:, 2:])
        return np.concatenate(parts, axis=1)

    def add_images_of(self, other: "PixelSample") -> "PixelSample":
        return replace(self, values=np.concatenate([self.values, other.values]))

    def under(self, change: PixelChange, images: NDArray[np.bool_] | None = None) -> "PixelSample":
        """Apply the change to all images, or to some."""
        _, *values = change.make_tensors(self.channels, self.value_range)
        changed = change_pixels(self.values, *values).numpy()
        return replace(
            self, values=changed if images is None else np.where(images[:, None, None], changed, self.values)
        )

    def differs_from(self, other: "PixelSample", sigmas: float) -> bool:
        """Return whether any mean over images differs by more than chance, and by enough to matter."""
        return _differ(self.statistics, other.statistics, self.value_range, sigmas)

    def measure_distance(self, other: "PixelSample") -> float:
        return float(np.abs(self.statistics.mean(axis=0) - other.statistics.mean(axis=0)).sum())


def compute_quantiles(values: NDArray[np.float32], shares: Sequence[float]) -> NDArray[np.float64]:
    """Return (rows, shares), with the bits of `np.quantile` but faster: bytes are sorted by counting."""
    whole = np.clip(values, 0, 255).astype(np.uint8)
    rows = np.sort(whole, axis=1, kind="stable") if (whole == values).all() else np.sort(values, axis=1)
    places = np.asarray(shares) * (values.shape[1] - 1)
    before = places.astype(np.int64)
    lower, upper = (rows[:, place].astype(np.float64) for place in (before, np.ceil(places).astype(np.int64)))
    share, step = places - before, upper - lower
    return np.where(share < 0.5, lower + step * share, upper - step * (1 - share))


def sample_of(source: BatchSource, rows: NDArray[np.int32], value_range: tuple[float, float]) -> PixelSample:
    """Return evenly spaced pixels of evenly spaced images."""
    return _read_sample(source, rows[spread_evenly(len(rows), MAX_IMAGES)].tobytes(), value_range)


@lru_cache(maxsize=3)  # of training and of two halves: the next job of a process asks for the same
def _read_sample(source: BatchSource, row_bytes: bytes, value_range: tuple[float, float]) -> PixelSample:
    rows = np.frombuffer(row_bytes, np.int32)
    source.expect(rows, _BATCH)
    parts = []
    for begin in range(0, len(rows), _BATCH):
        images = source.pixels(tf.constant(rows[begin : begin + _BATCH])).numpy()
        pixels = images.reshape(len(images), -1, images.shape[-1])
        parts.append(pixels[:, spread_evenly(pixels.shape[1], MAX_PIXELS)].astype(np.float32))
    return PixelSample(np.concatenate(parts), value_range)


def spread_evenly(count: int, at_most: int) -> NDArray[np.int64]:
    """Return at most this many evenly spaced positions out of `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, at_most)).round().astype(np.int64))


def list_changes_to_try(train: PixelSample, held_out: PixelSample) -> list[ValueChange]:
    """Return changes that may undo the difference between held-out images and those of training, simplest first.

    Empty if they do not certainly differ, or by too little to matter.
    """
    if not train.differs_from(held_out, MIN_DIFFERENCE_SIGMAS):
        return []
    kinds: list[ValueChange] = []
    undone: list[PixelSample] = []
    for kind in ("scale", "inversion", "channel_order", "brightness"):
        change = find_change(kind, train, held_out)
        if change is None:
            continue
        if kind == "brightness" and any(_fit_brightness(train, sample) is None for sample in undone):
            continue  # a simpler change has left nothing to improve
        changed = held_out.under(change)
        left = measure_distance_left(train, held_out, changed)
        if kind != "brightness":
            is_worth_trying = left < MAX_DISTANCE_LEFT
        elif change.is_cut_off or _measure_roughness(changed) > MAX_ROUGHNESS * _measure_roughness(train):
            is_worth_trying = left < MAX_DISTANCE_LEFT_BY_BRIGHTNESS
        else:
            # Blurred images stay far from those of training, although their brightness is undone.
            is_worth_trying = True
        if is_worth_trying:
            kinds.append(kind)
            undone.append(changed)
    return kinds


def measure_distance_left(train: PixelSample, held_out: PixelSample, undone: PixelSample) -> float:
    """Return the share of the distance from the training images that remains after undoing a change."""
    return train.measure_distance(undone) / train.measure_distance(held_out)


def find_change(kind: ValueChange, train: PixelSample, held_out: PixelSample) -> PixelChange | None:
    """Return the change of this kind that brings held-out images nearest to training; None if no change does."""
    match kind:
        case "scale":
            return _fit_scale(train, held_out)
        case "inversion":
            return PixelChange("inversion", factor=-1.0, offset=sum(train.value_range))
        case "channel_order":
            return PixelChange("channel_order", reversed_channels=True) if train.channels == 3 else None
        case "brightness":
            return _fit_brightness(train, held_out)
        case "none":
            return PixelChange()


def _fit_scale(train: PixelSample, held_out: PixelSample) -> PixelChange | None:
    """Fit one factor for all values, from the lower end of the range."""
    low, _ = train.value_range
    wanted, found = (float(np.quantile(sample.values, 0.999)) - low for sample in (train, held_out))
    if wanted <= 0 or found <= 0 or 1 / MIN_SCALE < wanted / found < MIN_SCALE:
        return None
    factor = wanted / found
    for usual in USUAL_SCALES:
        if 1 / MAX_FACTOR_FROM_USUAL_SCALE < factor / usual < MAX_FACTOR_FROM_USUAL_SCALE:
            factor = usual
    return PixelChange("scale", factor=factor, offset=low - factor * low)


def _fit_brightness(train: PixelSample, held_out: PixelSample) -> PixelChange | None:
    """Fit brightness and contrast for all pixels; None if images are as bright as those of training.

    It uses the mean values of images, which brightness changes, while blur, noise and rotation hardly do. If values
    were clipped at an end, it uses single pixels, because means do not show clipping.
    """
    cut_off = _fit_by_quantiles(train, held_out)
    return cut_off if cut_off is not None and cut_off.is_cut_off else _fit_by_means(train, held_out)


def _fit_by_means(train: PixelSample, held_out: PixelSample) -> PixelChange | None:
    """Fit from mean and spread of the images' mean values, if these certainly differ.

    The spread of all single pixels is more exact. It is used unless the means clearly contradict it.
    """
    means, others = (sample.values.mean(axis=(1, 2), dtype=np.float64) for sample in (train, held_out))
    if min(len(means), len(others)) < 2 or not means.std() or not others.std():
        return None
    factor, pixel_factor = float(means.std() / others.std()), _measure_spread(train) / _measure_spread(held_out)
    error = float(np.hypot(_estimate_log_spread_error(means), _estimate_log_spread_error(others)))
    is_contrast_sure = abs(np.log(factor)) > MIN_DIFFERENCE_SIGMAS * error
    is_sure = is_contrast_sure or _differ(means[:, None], others[:, None], train.value_range, MIN_DIFFERENCE_SIGMAS)
    if not is_sure:
        return None
    if abs(np.log(factor / pixel_factor)) <= MAX_SPREAD_SIGMAS * error:
        factor = pixel_factor
    return PixelChange("brightness", factor=factor, offset=float(means.mean() - factor * others.mean()))


def _measure_spread(sample: PixelSample) -> float:
    return float(sample.values.std(dtype=np.float64))


def _measure_roughness(sample: PixelSample) -> float:
    """Return the mean difference of adjacent pixels in a row."""
    return float(np.abs(np.diff(sample.values, axis=1)).mean(dtype=np.float64))


def _estimate_log_spread_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the logarithm of a standard deviation, from the fourth moment."""
    deviations = values - values.mean()
    kurtosis = float((deviations**4).mean() / (deviations**2).mean() ** 2)
    return float(np.sqrt(max(kurtosis - 1, 0.0) / (4 * len(values))))


def _fit_by_quantiles(train: PixelSample, held_out: PixelSample) -> PixelChange | None:
    """Fit a straight line through the quantiles of both, where held-out values are within the range.

    Clipped values are lost; such pixels get the mean of the training pixels beyond the end. Values that a darker set
    rounds to its end do not count: they hardly differ from it.
    """
    low, high = train.value_range
    wanted, found = (np.quantile(sample.values.astype(np.float64), _LEVELS) for sample in (train, held_out))
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
    matters = MIN_DIFFERENCE * (high - low)
    if cut_high > MIN_CUT_OFF:
        lost = np.quantile(train.values, 1 - float((held_out.values >= high).mean()))
        if high - lost > matters:
            top = float(train.values[train.values >= lost].mean(dtype=np.float64))
    if cut_low > MIN_CUT_OFF:
        lost = np.quantile(train.values, float((held_out.values <= low).mean()))
        if lost - low > matters:
            bottom = float(train.values[train.values <= lost].mean(dtype=np.float64))
    return PixelChange("brightness", factor=float(factor), offset=float(offset), bottom=bottom, top=top)


def _differ(
    first: NDArray[np.float64], second: NDArray[np.float64], value_range: tuple[float, float], sigmas: float
) -> bool:
    """Return whether any mean of (images, statistics) differs by more than chance, and by enough to matter."""
    if len(first) < 2 or len(second) < 2:
        return False
    difference = np.abs(first.mean(axis=0) - second.mean(axis=0))
    error = np.sqrt(first.var(axis=0, ddof=1) / len(first) + second.var(axis=0, ddof=1) / len(second))
    matters = difference > MIN_DIFFERENCE * (value_range[1] - value_range[0])
    return bool((matters & (difference > sigmas * error)).any())
