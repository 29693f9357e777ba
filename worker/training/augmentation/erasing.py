"""Random erasing: a rectangle in some training images is filled with the mean of all images.

Source: Zhong et al. 2017, arXiv:1708.04896.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.spec.augmentation import AugmentationSpec
from worker.training.data.training_data import BatchSource

_ERASING_STREAM = 3  # keeps these draws apart from the other changes of images
# Height divided by width of a rectangle; drawn so that tall and wide rectangles are equally likely.
LEAST_ASPECT, GREATEST_ASPECT = 0.3, 3.3
_IMAGES_AT_ONCE = 64  # the training images need not fit into memory


def draw_rectangles(
    spec: AugmentationSpec, image: tuple[int, int, int], *, seed: int, epoch: int, count: int
) -> NDArray[np.int32]:
    """Draw (count, 4) rows [top, left, bottom, right] in pixels, all 0 if an image does not change.

    They are for the images of one epoch, in the epoch's order, and depend only on the arguments. A rectangle is inside
    its image; if a side would be longer than the image's, the other side is longer instead.
    """
    draws = np.random.default_rng([seed, _ERASING_STREAM, epoch]).random((5, count))
    rectangles = make_rectangles(draws[1:], spec.erasing_area, (LEAST_ASPECT, GREATEST_ASPECT), image)
    return np.where(draws[0, :, None] < spec.erasing, rectangles, 0).astype(np.int32)


def make_rectangles(
    draws: NDArray[np.float64], area: tuple[float, float], aspect: tuple[float, float], image: tuple[int, int, int]
) -> NDArray[np.int32]:
    """Make rectangles inside an image; return (images, 4) rows [top, left, bottom, right].

    Args:
        draws: (4, images), uniform in [0, 1): for the area, the aspect, and the place.
        area: smallest and largest share of the image; it is uniform.
        aspect: smallest and largest height divided by width; its logarithm is uniform.
    """
    height, width, _ = image
    pixels = (area[0] + draws[0] * (area[1] - area[0])) * height * width
    aspects = aspect[0] * (aspect[1] / aspect[0]) ** draws[1]
    rows = np.clip(np.rint(np.sqrt(pixels * aspects)), np.ceil(pixels / width), height)
    columns = np.clip(np.rint(pixels / rows), 1, width)
    return place_rectangles(rows, columns, draws[2:], image)


def place_rectangles(
    rows: NDArray[np.float64], columns: NDArray[np.float64], draws: NDArray[np.float64], image: tuple[int, int, int]
) -> NDArray[np.int32]:
    """Place rectangles of these sizes uniformly; return (images, 4) rows [top, left, bottom, right].

    Args:
        rows, columns: (images,) whole numbers of pixels, at most the image's.
        draws: (2, images), uniform in [0, 1).
    """
    height, width, _ = image
    top, left = np.floor(draws[0] * (height - rows + 1)), np.floor(draws[1] * (width - columns + 1))
    return np.stack([top, left, top + rows, left + columns], axis=1).astype(np.int32)


def find_within(rectangles: tf.Tensor, image: tuple[int, int, int]) -> tf.Tensor:
    """Return (batch, height, width, 1) booleans: which pixels lie in the rectangle of their image."""
    height, width, _ = image
    top, left, bottom, right = (rectangles[:, None, None, side] for side in range(4))
    y, x = tf.range(height)[:, None], tf.range(width)[None, :]
    return (((y >= top) & (y < bottom)) & ((x >= left) & (x < right)))[..., None]


def compute_mean_pixel(
    source: BatchSource, rows: NDArray[np.int32], value_range: tuple[float, float]
) -> NDArray[np.float32]:
    """Return (channels,) the mean of the images of `rows`, scaled to [0, 1] as a network sees them."""
    sums, count = np.float64(0), 0
    for first in range(0, len(rows), _IMAGES_AT_ONCE):
        pixels = source.pixels(tf.constant(rows[first : first + _IMAGES_AT_ONCE])).numpy()
        sums = sums + pixels.sum(axis=(0, 1, 2), dtype=np.float64)
        count += pixels[..., 0].size
    low, high = value_range
    return np.asarray((sums / count - low) / (high - low), np.float32)
