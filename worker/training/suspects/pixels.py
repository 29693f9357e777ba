"""Images made small for the networks of a search: the time that these need does not depend on the dataset's sizes."""

import numpy as np
from numpy.typing import NDArray

from models.arrays import BLOCK_BYTES, ImageSet

# Sides of at most this many pixels are kept; longer ones are divided by the smallest whole number that is enough.
MAX_SIDE = 32


def seen_as(height: int, width: int) -> tuple[int, int]:
    """Height and width of the images that the networks are given."""
    factor = _factor(height, width)
    return max(1, height // factor), max(1, width // factor)


def small_images(images: ImageSet) -> NDArray[np.generic]:
    """(images, height, width, channels) of the dataset, each pixel the mean of a square; as stored if small enough.

    What is left over at the right and the bottom, less than one square, is cut off.
    """
    pixels = images.images
    factor = _factor(*images.shape[:2])
    if factor == 1:
        return np.asarray(pixels)
    height, width = seen_as(*images.shape[:2])
    rows, columns = min(factor, images.shape[0]), min(factor, images.shape[1])
    small = np.empty((len(pixels), height, width, images.shape[2]), pixels.dtype)
    at_once = max(1, BLOCK_BYTES // pixels[:1].nbytes)
    for first in range(0, len(pixels), at_once):
        block = pixels[first : first + at_once, : height * rows, : width * columns].astype(np.float32)
        means = block.reshape(len(block), height, rows, width, columns, -1).mean(axis=(2, 4))
        small[first : first + at_once] = np.rint(means) if pixels.dtype == np.uint8 else means
    return small


def _factor(height: int, width: int) -> int:
    return -(-max(height, width) // MAX_SIDE)
