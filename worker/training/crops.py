"""Random crops: a random part of each image, at the image's own size.

Sources: He et al. 2015, arXiv:1512.03385 (padded); Szegedy et al. 2014, arXiv:1409.4842 (resized).
"""

import numpy as np
from numpy.typing import NDArray

from heldout.spec.augmentation import RandomCropSpec
from worker.training.erasing import make_rectangles

_CROP_STREAM = 5  # keeps these draws apart from the other changes of images
# Height divided by width of a crop that is resized, as in the source.
ASPECT = (3 / 4, 4 / 3)


def draw_crops(
    spec: RandomCropSpec, image: tuple[int, int, int], *, seed: int, epoch: int, count: int
) -> NDArray[np.float64]:
    """Draw (count, 8) rows as `make_affine_matrices` returns them, for the images of one epoch in the epoch's order.

    A padded image moves by whole pixels. A part that is resized is a rectangle of whole pixels, and its edge lies on
    the edge of the result.
    """
    height, width, _ = image
    draws = np.random.default_rng([seed, _CROP_STREAM, epoch]).random((4, count))
    one, zero = np.ones(count), np.zeros(count)
    if spec.padding is not None:
        reach = np.rint(np.array([[width], [height]]) * spec.padding)
        across, down = np.floor(draws[:2] * (2 * reach + 1)) - reach
        return np.stack([one, zero, across, zero, one, down, zero, zero], axis=1)
    assert spec.area is not None
    top, left, bottom, right = make_rectangles(draws, spec.area, ASPECT, image).T
    zoom_x, zoom_y = (right - left) / width, (bottom - top) / height
    across, down = left + zoom_x / 2 - 0.5, top + zoom_y / 2 - 0.5
    return np.stack([zoom_x, zero, across, zero, zoom_y, down, zero, zero], axis=1)
