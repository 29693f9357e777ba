"""Scores of a job's predictions, split by split: `evaluation.json`."""

from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from analysis.answers.scores import scores_of
from analysis.arrays.file_names import FileNames
from heldout.stored.evaluation import LastEpochScores, SplitName, StoredEvaluation
from worker.training.data import TrainingData


def evaluation_of(
    data: TrainingData,
    probabilities: Mapping[str, NDArray[np.float32]],
    last_epoch: LastEpochScores | None = None,
    names: FileNames | None = None,
) -> StoredEvaluation:
    """Scores of each split of the dataset.

    Args:
        probabilities: for each split (images, classes), in the order of its rows.
        last_epoch: what the last epoch's weights cost beside the kept ones.
        names: what the images were called, if they had names.
    """
    return StoredEvaluation(
        classes=tuple(data.classes),
        splits={
            cast(SplitName, split): scores_of(said, data.labels[data.rows[split]], data.source[split], names)
            for split, said in probabilities.items()
        },
        last_epoch=last_epoch,
    )
