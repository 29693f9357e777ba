"""Reduces images for the networks of a search, so that time and memory do not depend on the dataset's image size."""

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import BLOCK_BYTES, ImageSet

# Sides of at most this many pixels are kept, or fewer if all images would take more memory than this. Larger ones are
# divided by the smallest whole number that is enough.
MAX_SIDE = 32
MAX_BYTES = 512 * 1024**2
BYTE_RANGE = (0.0, 255.0)


def choose_seen_size(images: ImageSet) -> tuple[int, int]:
    """Return height and width of the images for the networks."""
    height, width, _ = images.shape
    factor = _choose_factor(images)
    return max(1, height // factor), max(1, width // factor)


def make_small_images(images: ImageSet) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Return (images, height, width, channels) as bytes, each pixel the mean of a square; and their range.

    Pixels at the right and the bottom that do not fill a square are cut off.
    """
    pixels, factor = images.images, _choose_factor(images)
    is_bytes = pixels.dtype == np.uint8
    if is_bytes and factor == 1:
        return np.asarray(pixels), images.value_range
    height, width = choose_seen_size(images)
    rows, columns = min(factor, images.shape[0]), min(factor, images.shape[1])
    low, high = images.value_range
    small = np.empty((len(pixels), height, width, images.shape[2]), np.uint8)
    at_once = max(1, BLOCK_BYTES // pixels[:1].nbytes)
    for first in range(0, len(pixels), at_once):
        block = pixels[first : first + at_once, : height * rows, : width * columns].astype(np.float32)
        means = block.reshape(len(block), height, rows, width, columns, -1).mean(axis=(2, 4))
        if not is_bytes:
            means = (means - low) / (high - low) * 255
        small[first : first + at_once] = np.rint(means).clip(0, 255)
    return small, images.value_range if is_bytes else BYTE_RANGE


def _choose_factor(images: ImageSet) -> int:
    height, width, channels = images.shape
    by_side = -(-max(height, width) // MAX_SIDE)
    by_memory = int(np.ceil(np.sqrt(len(images.images) * height * width * channels / MAX_BYTES)))
    return max(by_side, by_memory)
