"""Random changes of training images: one affine resampling per batch, then changes of pixels, then erasing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from math import radians
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.spec.augmentation import AugmentationSpec, RandomCropSpec
from worker.training.augmentation.erasing import compute_mean_pixel, draw_rectangles, find_within, make_rectangles
from worker.training.augmentation.trivial_augment import apply_operations, draw_operations
from worker.training.data.training_data import BatchSource, TrainingData

Augment = Callable[..., tf.Tensor]
Image = tuple[int, int, int]
_AUGMENTATION_STREAM = 2  # keeps these draws apart from the epoch's order and the initial weights
_CROP_STREAM = 5  # keeps these draws apart from the other changes of images
# Height divided by width of a crop that is resized, as in the source.
CROP_ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Amounts:
    """The changes of each image; every array is (images,).

    theta is in radians, tx (columns) and ty (rows) are in pixels. zx (columns), zy (rows) and contrast are factors.
    flip_x and flip_y are booleans, and brightness is added to pixels in [0, 1]. saturation is a factor, and hue is a
    share of the color circle.
    """

    theta: NDArray[np.float64]
    tx: NDArray[np.float64]
    ty: NDArray[np.float64]
    zx: NDArray[np.float64]
    zy: NDArray[np.float64]
    flip_x: NDArray[np.bool_]
    flip_y: NDArray[np.bool_]
    contrast: NDArray[np.float64]
    brightness: NDArray[np.float64]
    saturation: NDArray[np.float64]
    hue: NDArray[np.float64]


def draw_amounts(spec: AugmentationSpec, image: Image, *, seed: int, epoch: int, count: int) -> Amounts:
    """Draw the amounts for the `count` images of one epoch, in the epoch's order.

    They depend only on the arguments, so that a resumed job repeats them. Each amount has its own random stream:
    turning one on does not change the others.
    """
    height, width, _ = image
    draws = np.random.default_rng([seed, _AUGMENTATION_STREAM, epoch]).uniform(-1, 1, (11, count))
    return Amounts(
        theta=draws[0] * radians(spec.rotation_degrees),
        tx=draws[1] * spec.width_shift * width,
        ty=draws[2] * spec.height_shift * height,
        zx=1 + draws[3] * spec.zoom,
        zy=1 + draws[4] * spec.zoom,
        flip_x=(draws[5] < 0) & spec.horizontal_flip,
        flip_y=(draws[6] < 0) & spec.vertical_flip,
        contrast=1 + draws[7] * spec.contrast,
        brightness=draws[8] * spec.brightness,
        saturation=1 + draws[9] * spec.saturation,
        hue=draws[10] * spec.hue,
    )


def make_affine_matrices(amounts: Amounts, image: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return (images, 8) rows [a, b, c, d, e, f, 0, 0]. Output pixel (x, y) shows (a x + b y + c, d x + e y + f).

    The semantics are those of Keras' legacy `ImageDataGenerator.apply_transform`: rotation, shift and zoom about the
    center, then flips. However, `tx`, `zx` act along columns and `ty`, `zy` along rows, in images of any shape.
    """
    height, width, _ = image
    cosine, sine = np.cos(amounts.theta), np.sin(amounts.theta)
    a, b = cosine * amounts.zx, -sine * amounts.zy
    d, e = sine * amounts.zx, cosine * amounts.zy
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    c = cosine * amounts.tx - sine * amounts.ty + middle_x - a * middle_x - b * middle_y
    f = sine * amounts.tx + cosine * amounts.ty + middle_y - d * middle_x - e * middle_y
    # A flip follows the affine part: output column x shows what column (width - 1 - x) would have shown.
    c = c + np.where(amounts.flip_x, a * (width - 1), 0) + np.where(amounts.flip_y, b * (height - 1), 0)
    f = f + np.where(amounts.flip_x, d * (width - 1), 0) + np.where(amounts.flip_y, e * (height - 1), 0)
    a, d = np.where(amounts.flip_x, -a, a), np.where(amounts.flip_x, -d, d)
    b, e = np.where(amounts.flip_y, -b, b), np.where(amounts.flip_y, -e, e)
    zero = np.zeros_like(a)
    return np.stack([a, b, c, d, e, f, zero, zero], axis=1).astype(np.float32)


def stack_brightness_contrast(amounts: Amounts) -> NDArray[np.float32]:
    """Return (images, 2) contrast and brightness of each image."""
    return np.stack([amounts.contrast, amounts.brightness], axis=1).astype(np.float32)


def make_colors(amounts: Amounts) -> NDArray[np.float32]:
    """Return (images, 2) saturation and hue of each image."""
    return np.stack([amounts.saturation, amounts.hue], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Setting:
    """What the changes of all images share.

    image: (height, width, channels). fill: (channels,) float32, the color of erased rectangles, if the spec erases.
    """

    spec: AugmentationSpec
    image: Image
    fill: NDArray[np.float32] | None = None


class Kind(NamedTuple):
    """One kind of change.

    is_in: whether a spec has it. draw: a row for each image of an epoch, from the setting, and the seed, the epoch and
    the number of images by name. apply: in a graph, changes images by their rows.
    """

    is_in: Callable[[AugmentationSpec], bool]
    draw: Callable[..., NDArray[np.generic]]
    apply: Callable[[tf.Tensor, tf.Tensor, Setting], tf.Tensor]


def draw_crops(
    spec: RandomCropSpec, image: tuple[int, int, int], *, seed: int, epoch: int, count: int
) -> NDArray[np.float64]:
    """Draw (count, 8) rows as `make_affine_matrices` returns them, for the images of one epoch in the epoch's order.

    A padded image moves by whole pixels. A part that is resized is a rectangle of whole pixels, and its edge lies on
    the edge of the result.

    Sources: He et al. 2015, arXiv:1512.03385 (padded); Szegedy et al. 2014, arXiv:1409.4842 (resized).
    """
    height, width, _ = image
    draws = np.random.default_rng([seed, _CROP_STREAM, epoch]).random((4, count))
    one, zero = np.ones(count), np.zeros(count)
    if spec.padding is not None:
        reach = np.rint(np.array([[width], [height]]) * spec.padding)
        across, down = np.floor(draws[:2] * (2 * reach + 1)) - reach
        return np.stack([one, zero, across, zero, one, down, zero, zero], axis=1)
    assert spec.area is not None
    top, left, bottom, right = make_rectangles(draws, spec.area, CROP_ASPECT, image).T
    zoom_x, zoom_y = (right - left) / width, (bottom - top) / height
    across, down = left + zoom_x / 2 - 0.5, top + zoom_y / 2 - 0.5
    return np.stack([zoom_x, zero, across, zero, zoom_y, down, zero, zero], axis=1)


def _draw_warps(setting: Setting, **epoch: int) -> NDArray[np.float32]:
    """Draw the matrices of one resampling: of a crop, and of the spec's own moves."""
    spec, image = setting.spec, setting.image
    matrices = make_affine_matrices(draw_amounts(spec, image, **epoch), image)
    return matrices if spec.random_crop is None else compose(draw_crops(spec.random_crop, image, **epoch), matrices)


# In the order in which they change an image.
KINDS: Mapping[str, Kind] = {
    "warp": Kind(
        lambda spec: spec.moves,
        _draw_warps,
        lambda images, rows, setting: warp(images, rows, setting.spec.fill_mode),
    ),
    "brightness_contrast": Kind(
        lambda spec: spec.shades,
        lambda setting, **epoch: stack_brightness_contrast(draw_amounts(setting.spec, setting.image, **epoch)),
        lambda images, rows, setting: adjust_brightness_contrast(images, rows, setting.spec),
    ),
    "colors": Kind(
        lambda spec: spec.colors,
        lambda setting, **epoch: make_colors(draw_amounts(setting.spec, setting.image, **epoch)),
        lambda images, rows, setting: color(images, rows, setting.spec),
    ),
    "operations": Kind(
        lambda spec: spec.trivial_augment,
        lambda setting, **epoch: draw_operations(setting.image, **epoch),
        lambda images, rows, setting: apply_operations(images, rows, setting.spec.fill_mode),
    ),
    "erasing": Kind(
        lambda spec: bool(spec.erasing),
        lambda setting, **epoch: draw_rectangles(setting.spec, setting.image, **epoch),
        lambda images, rows, setting: tf.where(find_within(rows, setting.image), setting.fill, images),
    ),
}


def draw_changes(
    spec: AugmentationSpec, image: Image, *, seed: int, epoch: int, count: int
) -> tuple[NDArray[np.generic], ...]:
    """Return an augmentation's arguments besides images, with a row for each of the `count` images of an epoch."""
    setting = Setting(spec, image)
    return tuple(kind.draw(setting, seed=seed, epoch=epoch, count=count) for kind in _list_kinds(spec))


def draw_epoch_changes(
    spec: AugmentationSpec, image: tuple[int, int, int], seed: int, epoch: int, places: NDArray[np.int32]
) -> tuple[NDArray[np.generic], ...]:
    """Return `draw_changes` of an epoch that takes training images in the order `places`.

    With `views` each image has that many fixed copies, and the epochs take them in turn.
    """
    if spec.views is None:
        return draw_changes(spec, image, seed=seed, epoch=epoch, count=len(places))
    view = (epoch - 1) % spec.views + 1
    drawn = draw_changes(spec, image, seed=seed, epoch=view, count=len(places))
    return tuple(of_kind[places] for of_kind in drawn)


def make_augment(spec: AugmentationSpec, data: TrainingData, source: BatchSource) -> Augment:
    """Return the result of `build_augmentation` for the training images of a job."""
    fill = compute_mean_pixel(source, data.rows["train"], data.value_range) if spec.erasing else None
    return build_augmentation(spec, data.image, fill)


def build_augmentation(spec: AugmentationSpec, image: Image, fill: NDArray[np.float32] | None = None) -> Augment:
    """Return a function for use in a graph, from images and rows of `draw_changes` to changed images.

    Images are (batch, height, width, channels) float32 in [0, 1], before and after. fill: (channels,), the color of
    erased rectangles; required if the spec erases.
    """
    setting, kinds = Setting(spec, image, fill), _list_kinds(spec)

    def augment(images: tf.Tensor, *rows: tf.Tensor) -> tf.Tensor:
        for kind, of_kind in zip(kinds, rows, strict=True):
            images = kind.apply(images, of_kind, setting)
        return images

    return augment


def _list_kinds(spec: AugmentationSpec) -> list[Kind]:
    return [kind for kind in KINDS.values() if kind.is_in(spec)]


def compose(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the matrices of two moves, each (images, 8): the first one changes the original image."""
    corner = np.repeat([[[0.0, 0.0, 1.0]]], len(first), axis=0)
    one, two = (np.concatenate([rows[:, :6].reshape(-1, 2, 3), corner], axis=1) for rows in (first, second))
    rows = (one @ two)[:, :2].reshape(-1, 6)
    return np.concatenate([rows, np.zeros((len(rows), 2))], axis=1).astype(np.float32)


def warp(images: tf.Tensor, matrices: tf.Tensor, fill_mode: str) -> tf.Tensor:
    """Resample each image once by its matrix, bilinear, with the fill mode as in scipy."""
    return _make_warp(fill_mode)(images, matrices)


@cache
def _make_warp(fill_mode: str) -> Augment:
    """Return one function for all towers, so that XLA compiles it once for each size of a batch.

    XLA makes one loop of it. TensorFlow's `ImageProjectiveTransformV3` takes three to five times as long on a core.
    """
    is_on_cpu = not tf.config.list_logical_devices("GPU")
    return tf.function(partial(_sample, fill_mode=fill_mode), autograph=False, jit_compile=is_on_cpu)


def _sample(images: tf.Tensor, matrices: tf.Tensor, fill_mode: str) -> tf.Tensor:
    height, width, channels = images.shape[1:]
    a, b, c, d, e, f = (matrices[:, field, None, None] for field in range(6))
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    sources, ends = (a * x + b * y + c, d * x + e * y + f), (width - 1, height - 1)
    (left, across), (top, down) = (_divide(source, end, fill_mode) for source, end in zip(sources, ends, strict=True))
    first = (tf.range(tf.shape(images)[0])[:, None, None] * height + top) * width + left
    pixels = tf.reshape(images, [-1, channels])

    def interpolate(row: tf.Tensor) -> tf.Tensor:
        return tf.gather(pixels, row) * (1 - across) + tf.gather(pixels, row + min(1, width - 1)) * across

    sampled = interpolate(first) * (1 - down) + interpolate(first + min(1, height - 1) * width) * down
    if fill_mode == "constant":
        # As in scipy, nothing is blended at the edge. An exact hit of it must not be lost to float32.
        rounding = 1e-6 * max(height, width)
        inside = [(source >= -rounding) & (source <= end + rounding) for source, end in zip(sources, ends, strict=True)]
        sampled *= tf.cast(inside[0] & inside[1], tf.float32)[..., None]
    return sampled


def _divide(source: tf.Tensor, end: int, fill_mode: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the pixel before each place on an axis, and the share of the next one, (batch, height, width, 1).

    end: the last pixel of the axis.
    """
    if fill_mode == "reflect":
        period = 2 * (end + 1)
        source = tf.abs(source + 0.5 - period * tf.round((source + 0.5) / period)) - 0.5
    elif fill_mode == "wrap":  # by whole periods of size - 1, which is what it means in scipy
        period = max(end, 1)
        below, above = source + period * (tf.floor(-source / period) + 1), source - period * tf.floor(source / period)
        source = tf.where(source < 0, below, tf.where(source > end, above, source))
    source = tf.clip_by_value(source, 0.0, float(end))
    before = tf.cast(tf.minimum(source, max(end - 1.0, 0.0)), tf.int32)
    return before, (source - tf.cast(before, tf.float32))[..., None]


def adjust_brightness_contrast(images: tf.Tensor, amounts: tf.Tensor, spec: AugmentationSpec) -> tf.Tensor:
    """Stretch each channel about its mean, add brightness, and keep pixels in [0, 1]."""
    if spec.contrast:
        mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
        images = (images - mean) * amounts[:, 0, None, None, None] + mean
    if spec.brightness:
        images = images + amounts[:, 1, None, None, None]
    return tf.clip_by_value(images, 0.0, 1.0) if spec.contrast or spec.brightness else images


def color(images: tf.Tensor, colors: tf.Tensor, spec: AugmentationSpec) -> tf.Tensor:
    """Multiply saturation and turn hue in HSV, whose value stays.

    It computes what `keras.layers.RandomSaturation` and `RandomHue` compute for given amounts, in a third of the time:
    TensorFlow's conversion to HSV is slow, and so is its `where`.
    """
    saturation, turn = colors[:, 0, None, None], colors[:, 1, None, None]
    red, green, blue = channels = tf.unstack(images, axis=-1)
    low, high = tf.minimum(green, blue), tf.maximum(green, blue)
    value, rest = tf.maximum(red, high), tf.minimum(red, high)
    chroma = value - tf.minimum(rest, low)
    if spec.hue:
        # The place in the color circle, from the order of the three channels.
        is_bluish, is_not_red = tf.cast(green < blue, tf.float32), tf.cast(red < high, tf.float32)
        start = is_not_red * (2 * is_bluish - 1 / 3) - is_bluish
        hue = tf.abs(start + (rest - low) / tf.maximum(6 * chroma, 1e-8)) + turn
        hue = 36 * (hue - tf.floor(hue))
        if spec.saturation:
            chroma = tf.minimum(chroma * saturation, value)
        # What each channel lacks, in sixths of the chroma, because no other operation cuts at both ends so fast.
        missing, sixth = (12 - tf.abs(hue - 18), tf.abs(hue - 12) - 6, tf.abs(hue - 24) - 6), chroma / 6
        channels = [value - sixth * tf.nn.relu6(share) for share in missing]
    else:
        factor = tf.minimum(saturation, value / tf.maximum(chroma, 1e-8))
        channels = [value - (value - channel) * factor for channel in channels]
    return tf.transpose(tf.stack(channels), [1, 2, 3, 0])
