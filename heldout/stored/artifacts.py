"""The files that a job leaves in the blob store: their names and formats."""

from enum import StrEnum
from typing import Literal


class ArtifactName(StrEnum):
    """What a file is."""

    MODEL = "model"  # the kept weights
    PREDICTIONS = "predictions"  # what they say of each image
    EVALUATION = "evaluation"  # their scores, class by class
    GAP = "gap"  # what the terms of its gap are made of
    INITIAL = "initial"  # the weights that it starts from: a copy of another job's model


class ArtifactFormat(StrEnum):
    """How a file is written."""

    KERAS = "keras"
    NPZ = "npz"
    JSON = "json"


# How predictions are handed out; a table is made from the file.
PredictionsFormat = Literal["npz", "csv"]
