"""How much images are like photographs: in color, of many tones, and not too small."""

import numpy as np
from numpy.typing import NDArray

FEWEST_PIXELS = 48  # of a side
COLORFUL = 10  # mean difference between the largest and the smallest channel, from which on an image is in colour
DISTINCT = 0.25  # different colors for each pixel that is not ground
DIFFERENT = 0.75  # share of neighbours that differ, among those of which one at least is not ground
NOT_GROUND = 0.25  # share of the image
FEWEST_IN_COLOR, FEWEST_CONTINUOUS = 0.5, 0.8


def is_in_color(image: NDArray[np.uint8]) -> bool:
    """Whether the channels of a (side, side, 3) image differ."""
    return image.shape[-1] == 3 and float(np.ptp(image.astype(np.int16), axis=-1).mean()) >= COLORFUL


def has_continuous_tones(image: NDArray[np.uint8]) -> bool:
    """Whether a (side, side, channels) image has tones like a photograph's: many, and hardly ever twice in a row.

    Its most frequent color may be a plain ground, as behind a product, and does not count. Flat drawings, icons and
    pictures with a small palette have few colors or large areas of one.
    """
    coded = image.astype(np.int64) @ (256 ** np.arange(image.shape[-1]))
    colors, numbers = np.unique(coded, return_inverse=True)
    of_pixel = numbers.reshape(image.shape[:2])
    shown = of_pixel != np.bincount(numbers.ravel()).argmax()
    if shown.mean() < NOT_GROUND:
        return False
    differ = [of_pixel[1:] != of_pixel[:-1], of_pixel[:, 1:] != of_pixel[:, :-1]]
    counted = [shown[1:] | shown[:-1], shown[:, 1:] | shown[:, :-1]]
    different = sum(int(one.sum()) for one in differ) / sum(int(one.sum()) for one in counted)
    return len(colors) - 1 >= DISTINCT * int(shown.sum()) and different >= DIFFERENT


def measure_criterion(images: NDArray[np.uint8]) -> tuple[float, float]:
    """What share of (count, side, side, channels) images is in color, and what share has continuous tones."""
    in_color = np.mean([is_in_color(image) for image in images])
    continuous = np.mean([has_continuous_tones(image) for image in images])
    return round(float(in_color), 3), round(float(continuous), 3)


def meets_criterion(side: int, in_color: float, continuous: float) -> bool:
    """Whether images of that side, as their sources have them, are photograph-like as a set."""
    return side >= FEWEST_PIXELS and in_color >= FEWEST_IN_COLOR and continuous >= FEWEST_CONTINUOUS
