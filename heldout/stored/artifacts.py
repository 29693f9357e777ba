"""The files that a job leaves in the blob store: their names and formats."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal


class ArtifactName(StrEnum):
    """What a file is."""

    MODEL = "model"  # the kept weights
    PREDICTIONS = "predictions"  # what they say of each image
    EVALUATION = "evaluation"  # their scores, class by class
    GAP = "gap"  # what the terms of its gap are made of
    INITIAL = "initial"  # the weights that it starts from: a copy of another job's model
    BACKBONE = "backbone"  # the uploaded model before its blocks: a copy


class ArtifactFormat(StrEnum):
    """How a file is written."""

    KERAS = "keras"
    NPZ = "npz"
    JSON = "json"


# How predictions are handed out; a table is made from the file.
PredictionsFormat = Literal["npz", "csv"]


class ExportFormat(StrEnum):
    """For which runtime a model is handed out."""

    KERAS = "keras"  # a `.keras` file
    SAVED_MODEL = "saved_model"  # a .zip with one version folder of TensorFlow Serving
    ONNX = "onnx"
    LITERT = "litert"  # a `.tflite` file


class ExportStatus(StrEnum):
    """How far a model for another runtime is."""

    QUEUED = "queued"  # its job waits or runs
    STORED = "stored"  # proven
    FAILED = "failed"


# The same, as a client writes them.
ExportFormatName = Literal["keras", "saved_model", "onnx", "litert"]
# No file of the model, but a script that trains it once more.
SCRIPT: Final = "python"
ModelFormatName = Literal[ExportFormatName, "python"]

# How the name of a downloaded file ends.
MODEL_SUFFIXES: Mapping[ExportFormat, str] = {
    ExportFormat.KERAS: ".keras",
    ExportFormat.SAVED_MODEL: "-saved_model.zip",
    ExportFormat.ONNX: ".onnx",
    ExportFormat.LITERT: ".tflite",
}
