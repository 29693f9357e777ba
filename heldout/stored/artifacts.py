"""The files that a job leaves in the blob store: their names and formats."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, Self, get_args


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


@dataclass(frozen=True, kw_only=True)
class ExportFacts:
    """What the service knows of a format.

    suffix: how the name of a downloaded file ends.
    description: what the file is, for the reference; empty where the format's name says it.
    writer: the module of `worker/training/exports/` that writes the file and answers images with it.
    packages: importable names that the writer needs, besides TensorFlow and Keras.
    base_mib, copies: memory that an export takes: TensorFlow, a converter and the other runtime, and copies of each
    parameter in all of them. `python -m benchmarks.memory_kinds` measures it.
    """

    suffix: str
    description: str = ""
    writer: str
    packages: tuple[str, ...] = ()
    base_mib: int
    copies: float


class ExportFormat(StrEnum):
    """For which runtime a model is handed out."""

    facts: ExportFacts

    def __new__(cls, value: str, facts: ExportFacts) -> Self:
        member = str.__new__(cls, value)
        member._value_, member.facts = value, facts
        return member

    KERAS = (
        "keras",
        # It is proven in a second process.
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
        # The converter holds the weights as Python's objects.
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
    """How far a model for another runtime is."""

    QUEUED = "queued"  # its job waits or runs
    STORED = "stored"  # proven
    FAILED = "failed"


# The formats as a client writes them: type checkers need them spelled out.
ExportFormatName = Literal["keras", "saved_model", "onnx", "litert"]
if get_args(ExportFormatName) != tuple(ExportFormat):
    raise TypeError("`ExportFormatName` must list every `ExportFormat`, in the same order.")
# No file of the model, but a script that trains it once more.
SCRIPT: Final = "python"
ModelFormatName = Literal[ExportFormatName, "python"]
