"""The formats in which a model is handed out: what writes each, and what answers images with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from heldout.stored.artifacts import ExportFormat
from heldout.stored.model_about import ModelAbout
from worker.training.exports import keras_file, litert, onnx_file, saved_model
from worker.training.exports.proof import ProofImages


class PackagesMissing(Exception):
    """The worker lacks what writes the format or loads it again."""

    def __init__(self, format_: ExportFormat, packages: list[str]) -> None:
        super().__init__(
            f"The worker lacks {', '.join(packages)}. Its operator can install the extra `export` "
            "(pip install 'heldout[export]')."
        )


@dataclass(frozen=True)
class Format:
    """How one format is written and loaded again.

    write: takes the model, what its file says of itself, its card, where to write it, and a folder for other files.
    answers: takes the file, images, and a folder for other files; gives (images, classes) probabilities.
    runtime: what it is answered by, with its version.
    packages: importable names that both need, beside TensorFlow and Keras.
    """

    write: Callable[[keras.Model, ModelAbout, str, Path, Path], None]
    answers: Callable[[Path, ProofImages, Path], NDArray[np.float32]]
    runtime: Callable[[], str]
    packages: tuple[str, ...] = ()


FORMATS: Mapping[ExportFormat, Format] = {
    ExportFormat.KERAS: Format(keras_file.write, keras_file.answers, keras_file.runtime),
    ExportFormat.SAVED_MODEL: Format(saved_model.write, saved_model.answers, saved_model.runtime),
    ExportFormat.ONNX: Format(
        onnx_file.write, onnx_file.answers, onnx_file.runtime, ("tf2onnx", "onnx", "onnxruntime")
    ),
    ExportFormat.LITERT: Format(litert.write, litert.answers, litert.runtime, ("ai_edge_litert",)),
}


def require_packages(format_: ExportFormat) -> None:
    """Raises PackagesMissing, without importing anything."""
    missing = [name for name in FORMATS[format_].packages if find_spec(name) is None]
    if missing:
        raise PackagesMissing(format_, [name.replace("_", "-") for name in missing])
