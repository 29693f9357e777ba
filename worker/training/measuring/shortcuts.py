"""Exchanges properties between held-out images, if a column alone predicts their labels as well as the network."""

from collections.abc import Mapping
from math import prod

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.answers.answers import Predictions
from analysis.answers.shortcuts import Pixels, intervene
from heldout.diagnosis.rules.groups import list_suspected
from heldout.stored.evaluation import StoredColumn, StoredIntervention
from worker.training.data.training_data import TrainingData
from worker.training.measuring.predictor import Predictor

# Images of a split whose pixels are exchanged: at most 13 answers for each. Two changed copies are held besides.
MAX_IMAGES, MAX_BYTES = 500, 2**27


def measure_interventions(
    predictor: Predictor,
    data: TrainingData,
    predicted: Mapping[str, Predictions],
    columns: Mapping[str, tuple[StoredColumn, ...]],
) -> dict[str, tuple[StoredIntervention, ...]]:
    """Exchange properties between images of the last held-out split that was read: test, if it was.

    If no column is suspected in any split, no image is read.
    """
    right = {
        split: (int(data.make_answers(split, predicted[split]).right.sum()), len(data.rows[split])) for split in columns
    }
    if not any(list_suspected(found, right[split]) for split, found in columns.items()):
        return {}
    split = "test" if "test" in columns else "validation"
    count = len(data.rows[split])
    most = max(1, min(count, MAX_IMAGES, MAX_BYTES // (4 * prod(data.image))))
    chosen = np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))
    rows = data.rows[split][chosen]
    predictor.source.expect(rows, len(rows))
    images = tf.cast(predictor.source.pixels(tf.constant(rows)), tf.float32).numpy()

    def answer(pixels: Pixels, labels: NDArray[np.int32]) -> NDArray[np.int64]:
        return predictor.predict_images(pixels, labels).probabilities.argmax(axis=1)

    positions = data.source[split][chosen]
    found = intervene(images, data.labels[rows], answer, data.value_range)
    return {
        split: tuple(
            each.model_copy(update={"changed": tuple(positions[list(each.changed)].tolist())}) for each in found
        )
    }
