"""Measures what blurred, noisy, compressed or enlarged test images cost.

Such changes cannot be undone, and need not be: validation images are changed in the same way and answered again by the
same weights.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.answers.answers import Answers, join_answers, tally_pairs
from analysis.arrays.image_quality import MAX_IMAGES, Bytes, Degradation, degrade, find_degradation
from analysis.arrays.relations import HeldOutRelations
from heldout.stored.gap import QualityLost
from worker.training.compared_split import ImagePredictor
from worker.training.data import TrainingData
from worker.training.pixel_changes import PixelChange, change_pixels, spread_evenly

_BATCH = 64
# Changes of pixel values after whose undoing the detail of images is as it was.
_KEEPS_DETAIL = ("none", "inversion", "channel_order", "brightness")


class ValidationLikeTest:
    """The validation images (without copies) of a job, and what makes them like its test images.

    Args:
        validation: the answers to the validation images, in the order of its rows.
        related: of the validation images; None if unknown.
    Attributes:
        lost: what the test images have lost, whatever their pixel values mean; None if nothing.
    """

    def __init__(
        self, predictor: ImagePredictor, data: TrainingData, validation: Answers, related: HeldOutRelations | None
    ) -> None:
        clean = np.empty(0, np.int64) if related is None else np.flatnonzero(~related.is_related)
        compared = clean if len(clean) else np.arange(len(validation))
        self._predictor, self._data = predictor, data
        self._rows, self._answers = data.rows["validation"][compared], validation.of(compared)
        self._reference = self._read(_spread(self._rows))
        self.lost = self._find(PixelChange())

    def measure(self, change: PixelChange | None) -> QualityLost | None:
        """Make the images like those of test, and count the answers to them.

        Args:
            change: undoes the pixel values of test; None if it is unknown, or changes only some images.
        """
        lost = self.lost
        if change is None or change.kind not in _KEEPS_DETAIL:
            return None
        if change.kind == "brightness":
            lost = None if change.is_cut_off else self._find(change)
        if lost is None:
            return None
        parts = []
        for begin in range(0, len(self._rows), _BATCH):
            rows = self._rows[begin : begin + _BATCH]
            images, labels = degrade(self._read(rows), lost, seed=begin), self._data.labels[rows]
            parts.append(Answers.to(labels, self._predictor.predict_images(self._scale_back(images), labels)))
        after = join_answers(*parts)
        tally, paired = after.tally(), tally_pairs(self._answers, after)
        if tally is None or paired is None:
            return None
        return QualityLost(kind=lost.kind, strength=lost.strength, tally=tally, change=paired)

    def _find(self, change: PixelChange) -> Degradation | None:
        return find_degradation(self._reference, self._read(_spread(self._data.rows["test"]), change))

    def _read(self, rows: NDArray[np.int32], change: PixelChange | None = None) -> Bytes:
        """(images, height, width, channels) in whole levels from 0 to 255, under a change of their pixels."""
        source, (low, high) = self._predictor.source, self._data.value_range
        source.expect(rows, _BATCH)
        parts = []
        for begin in range(0, len(rows), _BATCH):
            pixels = tf.cast(source.pixels(tf.constant(rows[begin : begin + _BATCH])), tf.float32).numpy()
            if change is not None:
                pixels = change_pixels(pixels, *change.make_tensors(pixels.shape[-1], (low, high))).numpy()
            levels = (pixels - np.float32(low)) * np.float32(255 / (high - low))
            parts.append(np.rint(levels).clip(0, 255).astype(np.uint8))
        return np.concatenate(parts)

    def _scale_back(self, levels: Bytes) -> NDArray[np.float32]:
        low, high = self._data.value_range
        return levels * np.float32((high - low) / 255) + np.float32(low)


def _spread(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    return rows[spread_evenly(len(rows), MAX_IMAGES)]
