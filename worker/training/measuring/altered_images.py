"""Finds images of a held-out split that are inverted, or have red and blue swapped, if not all of them are.

No label is used: a classifier learns to distinguish training images from the same images under the change. Both changes
undo themselves. So an image is described by how its features differ from those of its changed version, and a changed
image has the same difference with the opposite sign.
"""

from itertools import pairwise

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.training.data.training_data import BatchSource
from worker.training.measuring.pixel_changes import PixelChange, ValueChange, change_images

# Changes that can be recognized in a single image. Each undoes itself.
KINDS: tuple[ValueChange, ...] = ("inversion", "channel_order")
# Images that the classifier learns from, and those checked before all images of a split are.
MAX_IMAGES = 600
# Pixels per side that are used.
MAX_SIDE = 32
# The least number of images to learn from.
MIN_IMAGES = 20
# Share of the training images that the classifier must distinguish from their changed versions, cross-validated.
MIN_TOLD = 0.75
# Share of the split's images that must certainly be altered.
MIN_SHARE = 0.03

_BATCH = 256
_FOLDS = 5
_PENALTY = 10.0
_STEPS = 12  # of Newton's method, at most
_SMALL_STEP = 0.01
_SIGMAS = 1.96
_GRID = 4


def find_altered(
    source: BatchSource,
    train: NDArray[np.int32],
    held_out: NDArray[np.int32],
    change: PixelChange,
    value_range: tuple[float, float],
) -> tuple[NDArray[np.bool_], float] | None:
    """Find the held-out images (rows of the source) that look changed in this way.

    Returns (count,) whether an image is probably altered; and how many are, by the adjusted count. None if they cannot
    be recognized, or if there may be none.

    Source: the adjusted count of Rogan and Gladen 1978, American Journal of Epidemiology 107(1).
    """
    known = _compute_differences(source, _choose_some(train), change, value_range)
    if len(known) < MIN_IMAGES:
        return None
    scale = np.sqrt((known**2).mean(axis=0))
    used = scale > 0
    known = known[:, used] / scale[used]
    fold = np.arange(len(known)) * _FOLDS // len(known)
    unseen = np.empty(len(known))
    for of in range(_FOLDS):
        unseen[fold == of] = known[fold == of] @ _fit(known[fold != of])
    mistaken = float((unseen >= 0).mean())
    if mistaken > 1 - MIN_TOLD:
        return None
    weights = _fit(known)

    def score(rows: NDArray[np.int32]) -> NDArray[np.float64]:
        return _compute_differences(source, rows, change, value_range)[:, used] / scale[used] @ weights

    looked_at = _choose_some(held_out)
    scores = score(looked_at)
    flagged = float((scores > 0).mean())
    detected_share = 1 - 2 * mistaken
    # One more image of each kind, so that none of a few does not count as none of all.
    variance = sum(
        part * (1 - part) / (count + 2)
        for part, count in (
            ((flagged * len(scores) + 1) / (len(scores) + 2), len(scores)),
            ((mistaken * len(unseen) + 1) / (len(unseen) + 2), len(unseen)),
        )
    )
    share = min(1.0, (flagged - mistaken) / detected_share)
    if share - _SIGMAS * variance**0.5 / detected_share < MIN_SHARE:
        return None
    if len(looked_at) < len(held_out):
        scores = score(held_out)
    # Log odds: by the scores of images that the classifier has not seen, and by the share.
    steepness = float(_fit(unseen[:, None])[0])
    few = 1 / (len(held_out) + 2)
    prior = min(max(share, few), 1 - few)
    return steepness * scores + np.log(prior / (1 - prior)) > 0, share


def _choose_some(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_IMAGES)).round().astype(np.int64))]


def _fit(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit a penalized logistic regression through the origin that makes these differences negative."""
    weights = np.zeros(differences.shape[1])
    for _ in range(_STEPS):
        wrong = 1 / (1 + np.exp(np.clip(-differences @ weights, -30, 30)))
        slope = differences.T @ wrong + _PENALTY * weights
        bend = (differences.T * (wrong * (1 - wrong))) @ differences + _PENALTY * np.eye(len(weights))
        step = np.linalg.solve(bend, slope)
        weights = weights - step
        if np.abs(step).max() < _SMALL_STEP:
            break
    return weights


def _compute_differences(
    source: BatchSource, rows: NDArray[np.int32], change: PixelChange, value_range: tuple[float, float]
) -> NDArray[np.float64]:
    """Return (images, features): those of the images as they are, minus those under the change."""
    source.expect(rows, _BATCH)
    found = []
    low, high = value_range
    for begin in range(0, len(rows), _BATCH):
        images = source.pixels(tf.constant(rows[begin : begin + _BATCH])).numpy()
        step = -(-max(images.shape[1:3]) // MAX_SIDE)
        images = images[:, ::step, ::step].astype(np.float32)
        changed = change_images(images, *change.make_tensors(images.shape[-1], value_range)).numpy()
        as_is, other = (_compute_features((pixels - low) / (high - low)) for pixels in (images, changed))
        found.append(as_is - other)
    return np.concatenate(found).astype(np.float64) if found else np.empty((0, 0))


def _compute_features(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (images, features): brightness overall, at the border, in the middle and by place; its spread; colors."""
    # Channels first: sums along the last axis are several times faster.
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    count, channels, height, width = planes.shape
    pixels, grey = planes.reshape(count, channels, -1), planes.mean(axis=1).reshape(count, -1)
    means = pixels.mean(axis=2)
    away = pixels - means[..., None]
    squares = away * away
    spread = np.sqrt(squares.mean(axis=2))
    edges = (planes[:, :, 0], planes[:, :, -1], planes[..., 0], planes[..., -1])
    border = np.concatenate(edges, axis=2)
    middle = planes[:, :, height // 4 : -(-3 * height // 4), width // 4 : -(-3 * width // 4)].mean(axis=(2, 3))
    rows, columns = (np.linspace(0, side, _GRID + 1).round().astype(int) for side in (height, width))
    parts = [
        means,
        spread,
        (squares * away).mean(axis=2) / (spread**3 + 1e-3),
        np.quantile(grey, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], axis=1).T,
        border.mean(axis=2),
        np.median(border, axis=2),
        middle - border.mean(axis=2),
        *(
            planes[:, :, top:bottom, left:right].mean(axis=(2, 3))
            for top, bottom in pairwise(rows)
            for left, right in pairwise(columns)
            if bottom > top and right > left
        ),
    ]
    if channels == 3:
        balance = pixels[:, 0] - pixels[:, 2]
        parts += [
            np.quantile(balance, [0, 0.1, 0.5, 0.9, 1], axis=1).T,
            np.stack([(balance > 0.1).mean(axis=1), (balance < -0.1).mean(axis=1)], axis=1),
            (away * away[:, 1:2]).mean(axis=2),
            (balance * grey).mean(axis=1)[:, None],
        ]
    return np.concatenate(parts, axis=1)
