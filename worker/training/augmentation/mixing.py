"""Mixup and CutMix: each image of a batch is mixed with another image of the batch, and so are their labels.

Sources: Zhang et al. 2017, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899. The arithmetic is that of
`keras.layers.MixUp` and `keras.layers.CutMix`, for given shares, rectangles and partners.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.spec.job import TrainingSpec
from worker.training.augmentation.erasing import find_within, place_rectangles
from worker.training.data.replicas import Examples

_MIXING_STREAM = 4  # keeps these draws apart from the order and the changes of images
_LEAST_ALPHA = 1e-6  # the shares are 0 and 1 by then; float64 cannot draw from much less


def draw_mixing(
    training: TrainingSpec, image: tuple[int, int, int], *, epoch: int, count: int
) -> tuple[NDArray[np.generic], ...]:
    """Draw how each of the `count` images of one epoch is mixed, in the epoch's order.

    It depends only on the arguments.

    Returns:
        For mixup (images,) int32 positions of partners within their batch, where each image is the partner of one
        image, and (images,) float32 shares of an image that remain. For CutMix also (images, 4) int32 rectangles that
        come from the partner; the shares are those of the remaining pixels. Empty if images are not mixed.
    """
    alpha = training.mixup or training.cutmix
    if not alpha:
        return ()
    assert training.seed is not None
    draws = np.random.default_rng([training.seed, _MIXING_STREAM, epoch])
    shuffled = np.lexsort((draws.random(count), np.arange(count) // training.batch_size))  # within each batch
    partners = (shuffled % training.batch_size).astype(np.int32)
    shares = draws.beta(max(alpha, _LEAST_ALPHA), max(alpha, _LEAST_ALPHA), count)
    if training.mixup:
        return partners, shares.astype(np.float32)
    height, width, _ = image
    side = np.sqrt(1 - shares)
    rows, columns = np.rint(side * height), np.rint(side * width)
    remains = 1 - rows * columns / (height * width)
    return partners, remains.astype(np.float32), place_rectangles(rows, columns, draws.random((2, count)), image)


def mix(examples: Examples, partners: tf.Tensor, shares: tf.Tensor, rectangles: tf.Tensor | None = None) -> Examples:
    """Mix a whole batch as `draw_mixing` says; its targets must be shares of classes."""

    def blend(own: tf.Tensor) -> tf.Tensor:
        remains = tf.reshape(shares, [-1, *[1] * (own.shape.rank - 1)])
        return remains * own + (1.0 - remains) * tf.gather(own, partners)

    if rectangles is None:
        images = blend(examples.images)
    else:
        other, image = tf.gather(examples.images, partners), tuple(examples.images.shape[1:])
        images = tf.where(find_within(rectangles, image), other, examples.images)
    targets = blend(examples.targets)
    labels = tf.argmax(targets, axis=-1, output_type=examples.labels.dtype)
    return Examples(images, labels, targets, None if examples.weights is None else blend(examples.weights))
