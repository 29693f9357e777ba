"""The process that writes a model for another runtime and proves it there: from its assignment to its last message."""

import hashlib
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import tensorflow as tf

from heldout.lifecycle import FailureCode
from heldout.stored.artifacts import MODEL_SUFFIXES
from heldout.views.export import ExportReportView
from models.arrays import load
from models.relations import load_relations
from worker.messages import ExportAssignment, Exported, Failed, FromTraining
from worker.training.export import about_model
from worker.training.exports.formats import FORMATS, PackagesMissing, require_packages
from worker.training.exports.loading import load_models
from worker.training.exports.proof import (
    TOLERANCE,
    ExportDiffers,
    ProofImages,
    compare,
    split_without_answers,
    stored_answers,
)
from worker.training.one_answer import answer_once
from worker.training.refusal import ModelRefused


def run(assignment: ExportAssignment, pipe: Connection) -> None:
    """Export a model."""
    answer_once(lambda: _outcome(assignment), pipe, too_large="The model does")


def _outcome(assignment: ExportAssignment) -> FromTraining:
    try:
        return exported(assignment)
    except PackagesMissing as missing:
        return Failed(FailureCode.NOT_SUPPORTED, str(missing))
    except ExportDiffers as differs:
        return Failed(FailureCode.EXPORT_DIFFERS, str(differs))
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


def exported(assignment: ExportAssignment) -> Exported:
    """Write the file, load it again in its own runtime, and compare what it says of the job's own images.

    Raises:
        PackagesMissing, ExportDiffers, and whatever a converter or a runtime does.
    """
    require_packages(assignment.format)
    scratch, dataset, format_ = Path(assignment.scratch), Path(assignment.dataset), FORMATS[assignment.format]
    images = load(dataset)
    model = load_models([Path(file) for file in assignment.models])
    about = about_model(model, assignment.source_id, assignment.dataset_sha256, images.classes, images.value_range)
    stored = stored_answers([Path(file) for file in assignment.predictions])
    if stored is None:
        relations = load_relations(Path(assignment.relations)) if assignment.relations else None
        split, positions = split_without_answers(images, assignment.spec, relations)
    else:
        split, positions = stored.split, stored.positions
    asked = ProofImages(split, images.images, positions, dataset / "images.npy")
    if stored is None:
        expected = np.concatenate([np.asarray(model(batch, training=False)) for batch in asked.batches()])
    else:
        expected = stored.probabilities
    file = scratch / f"model{MODEL_SUFFIXES[assignment.format]}"
    format_.write(model, about, assignment.card, file, scratch)
    found = compare(format_.answers(file, asked, scratch), expected)
    content = file.read_bytes()
    report = ExportReportView.model_validate(
        {
            "job_id": assignment.source_id,
            "format": assignment.format,
            "runtime": format_.runtime(),
            "compared_with": "keras" if stored is None else "predictions",
            "split": split,
            "images": len(positions),
            "batch_sizes": asked.batch_sizes,
            "differing_answers": found.differing_answers,
            "max_difference": found.max_difference,
            "tolerance": TOLERANCE,
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "about": about,
        }
    )
    return Exported(str(file), report)
