"""Sets of the sixth lot: photographs, and what is as continuous in its tones.

This criterion was written down before any set was looked for. A set belongs to the lot if

- none of its packages belongs to an earlier lot;
- its images are cut from sources in which they have at least 48 pixels a side (`FEWEST_PIXELS`); none is made larger;
- at least half of its images are in colour, and at least 80% have continuous tones, both by the measured rules below.

The rules measure images before anything is added to them: the sets of this lot add no noise. They cannot tell a
photograph from a good rendering or painting, so each set says which of them it shows. At least twelve sets are wanted.
If fewer meet the criterion, the lot has fewer.
"""

import numpy as np
from numpy.typing import NDArray

FEWEST_PIXELS = 48
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
    colors, numbers = np.unique(image.reshape(-1, image.shape[-1]), axis=0, return_inverse=True)
    of_pixel = numbers.reshape(image.shape[:2])
    shown = of_pixel != np.bincount(numbers.ravel()).argmax()
    if shown.mean() < NOT_GROUND:
        return False
    differ = [of_pixel[1:] != of_pixel[:-1], of_pixel[:, 1:] != of_pixel[:, :-1]]
    counted = [shown[1:] | shown[:-1], shown[:, 1:] | shown[:, :-1]]
    different = sum(int(one.sum()) for one in differ) / sum(int(one.sum()) for one in counted)
    return len(colors) - 1 >= DISTINCT * int(shown.sum()) and different >= DIFFERENT


def meets_criterion(images: NDArray[np.uint8]) -> bool:
    """Whether (count, side, side, 3) images, as their sources have them, are photograph-like as a set."""
    in_color = np.mean([is_in_color(image) for image in images])
    continuous = np.mean([has_continuous_tones(image) for image in images])
    large = min(images.shape[1:3]) >= FEWEST_PIXELS
    return bool(large and in_color >= FEWEST_IN_COLOR and continuous >= FEWEST_CONTINUOUS)
