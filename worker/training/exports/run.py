"""The process that writes a model for another runtime and checks it there, from its assignment to its last message."""

import hashlib
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol, cast

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.arrays.dataset import load
from analysis.arrays.relations import load_relations
from heldout.lifecycle.job import FailureCode
from heldout.stored.artifacts import ExportFormat
from heldout.stored.results import ModelAbout
from heldout.views.model import ExportReportView
from worker.messages import ExportAssignment, Exported, Failed, FromTraining
from worker.training.exports.exported_model import describe_model
from worker.training.exports.proof import (
    TOLERANCE,
    NotExported,
    ProofImages,
    compare,
    read_stored_answers,
    split_without_answers,
)
from worker.training.model_files.keras_file import load_model
from worker.training.model_files.refusal import ModelRefused
from worker.training.supervisor_pipe import answer_once


class Writer(Protocol):
    """A module that writes one format and loads it again."""

    def write(self, model: keras.Model, about: ModelAbout, card: str, file: Path, scratch: Path) -> None:
        """Write the model. about, card: metadata for its file. scratch: a folder for other files."""

    def compute_answers(self, file: Path, images: ProofImages, scratch: Path) -> NDArray[np.float32]:
        """Return (images, classes) probabilities, computed from the file in its own runtime."""

    def describe_runtime(self) -> str:
        """Return the name and version of the runtime."""


WRITERS: dict[ExportFormat, Writer] = {
    format_: cast(Writer, import_module(f"worker.training.exports.{format_.facts.writer}")) for format_ in ExportFormat
}


def run(assignment: ExportAssignment, pipe: Connection) -> None:
    """Export a model."""
    answer_once(lambda: _make_outcome(assignment), pipe, too_large="The model does")


def _make_outcome(assignment: ExportAssignment) -> FromTraining:
    try:
        return export_model(assignment)
    except NotExported as failed:
        return Failed(failed.code, str(failed))
    except ModelRefused as refused:
        return Failed(FailureCode.EXPORT_FAILED, refused.detail)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # noqa: BLE001 - converters raise anything
        traceback.print_exc()
        return Failed(
            FailureCode.EXPORT_FAILED,
            f"Writing the file, or loading it again in its own runtime, failed ({type(error).__name__}); the worker's "
            "log says where. Another format may work.",
        )


def export_model(assignment: ExportAssignment) -> Exported:
    """Write the file, load it again in its own runtime, and compare its answers to the job's own images.

    Raises:
        NotExported, and whatever a converter or a runtime raises.
    """
    require_packages(assignment.format)
    scratch, dataset, writer = assignment.scratch, assignment.dataset.folder, WRITERS[assignment.format]
    images = load(dataset)
    model = load_models(assignment.models)
    about = describe_model(model, assignment.source_id, assignment.dataset.sha256, images.classes, images.value_range)
    stored = read_stored_answers(assignment.predictions)
    if stored is None:
        relations = load_relations(assignment.dataset.relations) if assignment.dataset.relations else None
        split, positions = split_without_answers(images, assignment.spec, relations)
    else:
        split, positions, expected = stored
    asked = ProofImages(split, images.images, positions, dataset / "images.npy")
    if stored is None:
        expected = np.concatenate([np.asarray(model(batch, training=False)) for batch in asked.batches()])
    file = scratch / f"model{assignment.format.facts.suffix}"
    writer.write(model, about, assignment.card, file, scratch)
    differing, largest = compare(writer.compute_answers(file, asked, scratch), expected)
    content = file.read_bytes()
    report = ExportReportView.model_validate(
        {
            "job_id": assignment.source_id,
            "format": assignment.format,
            "runtime": writer.describe_runtime(),
            "compared_with": "keras" if stored is None else "predictions",
            "split": split,
            "images": len(positions),
            "batch_sizes": asked.batch_sizes,
            "differing_answers": differing,
            "max_difference": largest,
            "tolerance": TOLERANCE,
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "about": about,
        }
    )
    return Exported(file, report)


def require_packages(format_: ExportFormat) -> None:
    """Raise NotExported if the worker lacks a package that writes the format or loads it again. Imports nothing."""
    missing = [name.replace("_", "-") for name in format_.facts.packages if find_spec(name) is None]
    if missing:
        raise NotExported(
            FailureCode.NOT_SUPPORTED,
            f"The worker lacks {', '.join(missing)}. Its operator can install them in the repository: "
            "`pip install --group export`.",
        )


def load_models(files: Sequence[Path]) -> keras.Model:
    """Load one model of Keras' own layers, from raw pixels to probabilities; several become the mean of their answers.

    Args:
        files: at least one model, all with the same input and classes.
    """
    models = [load_model(file) for file in files]
    if len(models) == 1:
        return models[0]
    pixels = keras.Input(models[0].input_shape[1:], name="pixels")
    probabilities = [_rename_model(model, f"member{number}")(pixels) for number, model in enumerate(models, start=1)]
    return keras.Model(pixels, keras.layers.Average(name="probabilities")(probabilities), name="ensemble")


def _rename_model(model: keras.Model, name: str) -> keras.Model:
    """Rename the model, because parts of a model must have distinct names."""
    renamed = keras.Model.from_config({**model.get_config(), "name": name})
    renamed.set_weights(model.get_weights())
    return renamed
