"""TrivialAugment: one random operation of random strength on each training image.

Source: Müller and Hutter 2021, arXiv:2103.10158, with the operations and strengths of its wide space; the arithmetic of
pixels is Pillow's, without its rounding to whole bytes.
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_TRIVIAL_STREAM = 6  # keeps these draws apart from the other changes of images
BINS = 31
# Operations that move pixels, with their greatest strength; either direction is equally likely.
MOVES: Mapping[str, float] = {
    "shear_x": 0.99,
    "shear_y": 0.99,
    "translate_x": 32,  # pixels, at most the image's side
    "translate_y": 32,
    "rotate": 135,  # degrees
}
_Strengths = NDArray[np.float64]


def draw_operations(image: tuple[int, int, int], *, seed: int, epoch: int, count: int) -> NDArray[np.float32]:
    """Draw the operation of each image of one epoch, in the epoch's order.

    Returns:
        (count, 10): the position in `CHANGES`, or after them for a move; the strength; and a matrix as
        `make_affine_matrices` returns it, which is the identity for operations on pixels.
    """
    draws = np.random.default_rng([seed, _TRIVIAL_STREAM, epoch])
    number = draws.integers(len(MOVES) + len(CHANGES), size=count)
    share: _Strengths = draws.integers(BINS, size=count) / (BINS - 1)
    sign = draws.choice(np.array([-1.0, 1.0]), size=count)
    kind = np.minimum(number, len(CHANGES))
    strengths = [make_strengths(share, sign) for make_strengths, _ in CHANGES.values()]
    strength = np.stack([*strengths, 0 * share])[kind, np.arange(count)]
    moved = {name: np.where(number == len(CHANGES) + place, share * sign, 0.0) for place, name in enumerate(MOVES)}
    return np.concatenate([np.stack([kind, strength], axis=1), _make_matrices(moved, image)], axis=1, dtype=np.float32)


def _make_matrices(moved: Mapping[str, _Strengths], image: tuple[int, int, int]) -> NDArray[np.float64]:
    """Make matrices that shear about the upper left corner, shift by whole pixels, and rotate about the center."""
    height, width, _ = image
    amounts = {name: share * MOVES[name] for name, share in moved.items()}
    shear_x, shear_y, angle = amounts["shear_x"], amounts["shear_y"], np.radians(amounts["rotate"])
    across = np.trunc(moved["translate_x"] * min(MOVES["translate_x"], width))
    down = np.trunc(moved["translate_y"] * min(MOVES["translate_y"], height))
    cosine, sine = np.cos(angle), np.sin(angle)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    # Only one of the three is not the identity, so their matrices need not be multiplied.
    right = middle_x - cosine * middle_x + sine * middle_y + shear_x / 2 + across
    below = middle_y - sine * middle_x - cosine * middle_y + shear_y / 2 + down
    zero = np.zeros_like(angle)
    return np.stack([cosine, shear_x - sine, right, sine + shear_y, cosine, below, zero, zero], axis=1)


def _posterize(images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    return tf.floor(tf.round(images * 255) / step) * step / 255


def _solarize(images: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    return tf.abs(tf.cast(tf.round(images * 255) >= threshold, tf.float32) - images)


def _change_color(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return _blend(_make_gray(images), images, factor) if images.shape[-1] == 3 else images


def _change_contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return _blend(tf.reduce_mean(_make_gray(images), axis=[1, 2, 3], keepdims=True), images, factor)


def _change_sharpness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with images whose pixels, but for those at the edge, are smoothed by [[1 1 1], [1 5 1], [1 1 1]] / 13."""
    if min(images.shape[1:3]) < 3:
        return images
    across = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    around = across[:, :-2] + across[:, 1:-1] + across[:, 2:]
    inner = images[:, 1:-1, 1:-1]
    gained = (factor - 1) * (inner - (around + 4 * inner) / 13)
    return _clip(images + tf.pad(gained, [[0, 0], [1, 1], [1, 1], [0, 0]]))


def _stretch_contrast(images: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    low, high = (_reduce_pixels(find, images) for find in (tf.reduce_min, tf.reduce_max))
    differs = high > low
    return (images - tf.where(differs, low, 0.0)) / tf.where(differs, high - low, 1.0)


def _equalize(images: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    """Make each channel's bytes equally frequent."""
    height, width, channels = images.shape[1:]
    pixels = tf.cast(tf.round(images * 255), tf.int32)
    upper = tf.reshape(_reduce_pixels(tf.reduce_max, pixels), [-1])
    # One histogram has room for the bytes of all channels of all images: a transposition would take longer.
    planes = tf.size(upper)
    keys = tf.reshape(pixels + tf.reshape(256 * tf.range(planes), [-1, 1, 1, channels]), [-1])
    counts = tf.raw_ops.DenseBincount(
        input=keys, size=256 * planes, weights=tf.constant([], tf.int32), binary_output=False
    )
    counts = tf.reshape(counts, [-1, 256])
    step = (height * width - tf.gather(counts, upper, batch_dims=1)) // 255
    step = step[:, None]
    below = tf.cumsum(counts, axis=1, exclusive=True)
    table = tf.minimum((step // 2 + below) // tf.maximum(step, 1), 255)
    table = tf.cast(tf.where(step > 0, table, tf.range(256)), tf.float32) / 255
    return tf.reshape(tf.gather(tf.reshape(table, [-1]), keys), tf.shape(images))


def _reduce_pixels(reduce: Callable[..., tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """Reduce each channel of each image; rows first, because TensorFlow adds whole rows fast."""
    return reduce(reduce(images, axis=1, keepdims=True), axis=2, keepdims=True)


def _make_gray(images: tf.Tensor) -> tf.Tensor:
    if images.shape[-1] != 3:
        return images
    red, green, blue = (images[..., channel, None] for channel in range(3))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _blend(plain: tf.Tensor, images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return _clip(plain + (images - plain) * factor)


def _clip(images: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(images, 0.0, 1.0)


def _make_factors(share: _Strengths, sign: _Strengths) -> _Strengths:
    return 1 + 0.99 * share * sign


# The identity and the operations on pixels. The first function makes strengths of shares in [0, 1] and signs. In a
# graph, the second one changes images in [0, 1] by strengths that are (images, 1, 1, 1).
CHANGES: Mapping[str, tuple[Callable[[_Strengths, _Strengths], _Strengths], Callable[..., tf.Tensor]]] = {
    "identity": (lambda share, sign: 0 * share, lambda images, _: images),
    "brightness": (_make_factors, lambda images, factor: _clip(images * factor)),
    "color": (_make_factors, _change_color),
    "contrast": (_make_factors, _change_contrast),
    "sharpness": (_make_factors, _change_sharpness),
    "posterize": (lambda share, sign: 2 ** np.rint(6 * share), _posterize),  # the step between the bytes that remain
    "solarize": (lambda share, sign: 255 * (1 - share), _solarize),  # the byte from which pixels are inverted
    "autocontrast": (lambda share, sign: 0 * share, _stretch_contrast),
    "equalize": (lambda share, sign: 0 * share, _equalize),
}


def apply_operations(images: tf.Tensor, rows: tf.Tensor, fill_mode: str) -> tf.Tensor:
    """Change images in a graph, (batch, height, width, channels) float32 in [0, 1], by rows of `draw_operations`.

    Each operation takes its own images alone. Those that move pixels take the nearest one, as in the source.

    Args:
        fill_mode: of the spec, for what comes from beyond an edge.
    """
    kinds = tf.cast(rows[:, 0], tf.int32)
    places, parts, of_parts = (
        tf.dynamic_partition(each, kinds, len(CHANGES) + 1) for each in (tf.range(tf.shape(images)[0]), images, rows)
    )
    changed = [
        change(part, of_part[:, 1, None, None, None])
        for (_, change), part, of_part in zip(CHANGES.values(), parts, of_parts, strict=False)
    ]
    moved = _move(parts[-1], of_parts[-1][:, 2:], fill_mode)
    return tf.ensure_shape(tf.dynamic_stitch(places, [*changed, moved]), images.shape)


def _move(images: tf.Tensor, matrices: tf.Tensor, fill_mode: str) -> tf.Tensor:
    """Take the nearest pixel for each one. A gather of whole pixels is faster than TensorFlow's resampling."""
    height, width, channels = images.shape[1:]
    if fill_mode not in ("nearest", "constant"):
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=matrices,
            output_shape=[height, width],
            fill_value=0.0,
            interpolation="NEAREST",
            fill_mode=fill_mode.upper(),
        )
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    grid = tf.constant(np.stack([x, y, np.ones_like(x)]), tf.float32)
    sources = tf.round(tf.reshape(matrices[:, :6], [-1, 2, 3]) @ grid)
    within = tf.clip_by_value(sources, 0.0, tf.constant([[width - 1.0], [height - 1.0]]))
    column, row = tf.unstack(tf.cast(within, tf.int32), axis=1)
    first = height * tf.range(tf.shape(images)[0])[:, None]
    moved = tf.gather(tf.reshape(images, [-1, channels]), (first + row) * width + column)
    if fill_mode == "constant":
        moved *= tf.cast(tf.reduce_all(sources == within, axis=1), tf.float32)[..., None]
    return tf.reshape(moved, [-1, height, width, channels])
