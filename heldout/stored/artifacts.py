"""Names and formats of the files that a job stores in the blob store."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, Self, get_args


class ArtifactName(StrEnum):
    """The content of a file."""

    MODEL = "model"  # the kept weights
    PREDICTIONS = "predictions"  # their answers to each image
    EVALUATION = "evaluation"  # their scores, class by class
    GAP = "gap"  # figures for the terms of the gap
    INITIAL = "initial"  # the weights that the job starts from: a copy of another job's model
    HEATMAP = "heatmap"  # what in an image speaks for its answer and for its label
    BACKBONE = "backbone"  # the uploaded model before its blocks: a copy


class ArtifactFormat(StrEnum):
    """The format of a file."""

    KERAS = "keras"
    NPZ = "npz"
    JSON = "json"


# What a process writes that converts weights of PyTorch.
CONVERTED_KERAS, CONVERTED_ONNX = "model.keras", "model.onnx"
# Formats in which predictions are served; the table is made from the stored file.
PredictionsFormat = Literal["npz", "csv"]


@dataclass(frozen=True, kw_only=True)
class ExportFacts:
    """What the service knows about an export format.

    suffix: end of the name of a downloaded file.
    description: what the file is, for the reference; empty if the format's name says it.
    writer: the module of `worker/training/exports/` that writes the file and answers images with it.
    packages: importable names that the writer needs, besides TensorFlow and Keras.
    base_mib, copies: memory of an export: a base for TensorFlow, converter and runtime, and copies of each parameter.
        `python -m benchmarks.memory_kinds` measures them.
    """

    suffix: str
    description: str = ""
    writer: str
    packages: tuple[str, ...] = ()
    base_mib: int
    copies: float


class ExportFormat(StrEnum):
    """Formats for the runtimes to which models can be exported."""

    facts: ExportFacts

    def __new__(cls, value: str, facts: ExportFacts) -> Self:
        member = str.__new__(cls, value)
        member._value_, member.facts = value, facts
        return member

    KERAS = (
        "keras",
        # A second process checks the file.
        ExportFacts(suffix=".keras", description="a file for Keras", writer="keras_file", base_mib=910, copies=10.5),
    )
    SAVED_MODEL = (
        "saved_model",
        ExportFacts(
            suffix="-saved_model.zip",
            description="a .zip for TensorFlow Serving",
            writer="saved_model",
            base_mib=300,
            copies=6,
        ),
    )
    ONNX = (
        "onnx",
        # The converter keeps the weights as Python objects.
        ExportFacts(
            suffix=".onnx", writer="onnx_file", packages=("tf2onnx", "onnx", "onnxruntime"), base_mib=365, copies=50
        ),
    )
    LITERT = (
        "litert",
        ExportFacts(
            suffix=".tflite",
            description="a `.tflite` file",
            writer="litert",
            packages=("ai_edge_litert",),
            base_mib=330,
            copies=9,
        ),
    )


class ExportStatus(StrEnum):
    """The status of an export."""

    QUEUED = "queued"  # its job waits or runs
    STORED = "stored"  # verified
    FAILED = "failed"


# The formats as clients write them; type checkers need literal values.
ExportFormatName = Literal["keras", "saved_model", "onnx", "litert"]
if get_args(ExportFormatName) != tuple(ExportFormat):
    raise TypeError("`ExportFormatName` must list every `ExportFormat`, in the same order.")
# Not a file of the model, but a script that trains it again.
SCRIPT: Final = "python"
# The layers of an uploaded model with the changes that it was trained with, without weights.
CONFIGURATION: Final = "keras_config"
ModelFormatName = Literal[ExportFormatName, "python", "keras_config"]
