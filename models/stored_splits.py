"""Computes the splits of jobs, and checks whether folds are possible, from a dataset's small stored files."""

import io

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.folds import Positions, assign_job_folds, compute_job_splits, find_class_lacking_fold
from analysis.arrays.relations import Relations, find_units, load_relations, make_relations_key
from heldout.errors import CopiesNotKnown, DatasetLost, InvalidSpec
from heldout.lifecycle.resources import RelationsStatus
from heldout.spec.job import JobSpec
from models.blob_files import guard_reading
from models.blobs import Blobs, raise_if_missing
from models.database import Session
from models.stored_files import read_file, read_labels, read_splits
from models.tables import DatasetRow


def read_stored_splits(session: Session, blobs: Blobs, dataset: DatasetRow, spec: JobSpec) -> dict[str, Positions]:
    """Call `compute_job_splits` on the small stored files of a ready dataset.

    Raises:
        DatasetLost, DatasetDamaged, StorageUnavailable.
    """
    labels, splits, relations = _read_stored(session, blobs, dataset, spec)
    return compute_job_splits(labels, splits, spec, relations)


def require_folds(session: Session, blobs: Blobs, dataset: DatasetRow, spec: JobSpec) -> None:
    """Check that the spec's folds, if any, can be cut now, and that they will always be cut in the same way.

    Raises:
        CopiesNotKnown: if the search for the dataset's copies has not ended.
        InvalidSpec: if a fold would have no image of some class.
        DatasetLost, DatasetDamaged, StorageUnavailable.
    """
    if spec.folds is None:
        return
    if dataset.relations_status not in {RelationsStatus.STORED, RelationsStatus.FAILED}:
        raise CopiesNotKnown(dataset.name)
    labels, splits, relations = _read_stored(session, blobs, dataset, spec)
    pool, folds = np.concatenate([splits["train"], splits["validation"]]), spec.folds.folds
    lacking = find_class_lacking_fold(labels, pool, assign_job_folds(labels, pool, spec.folds, relations), folds)
    if lacking is None:
        return
    name = (dataset.classes or ())[lacking]
    of_class = pool[labels[pool] == lacking]
    units = None if relations is None else find_units(relations)
    alone = len(of_class) if units is None else len(np.unique(units[of_class]))
    together = "" if alone == len(of_class) else f" in {alone:,} sets that belong together (copies and groups)"
    detail = (
        f"Class {name!r} has only {len(of_class):,} images{together} outside of test, too few for {folds} folds. "
        f"Use {'fewer folds' if alone > 2 else 'the splits of the dataset'}, or add images of that class."
    )
    raise InvalidSpec.at("/validation/folds", detail)


def uses_relations(dataset_status: RelationsStatus | None) -> bool:
    """Whether folds of a dataset keep copies and groups together. This never changes after a job was accepted."""
    return dataset_status is RelationsStatus.STORED


def _read_stored(
    session: Session, blobs: Blobs, dataset: DatasetRow, spec: JobSpec
) -> tuple[NDArray[np.int32], dict[str, Positions], Relations | None]:
    sha256, key = dataset.sha256 or "", make_relations_key(dataset.id)
    with raise_if_missing(DatasetLost(dataset.name)):
        labels, splits = read_labels(session, blobs, sha256), read_splits(session, blobs, sha256)
        relations = None
        if spec.folds is not None and uses_relations(dataset.relations_status):
            content = read_file(session, blobs, key)
            with guard_reading(key):
                relations = load_relations(io.BytesIO(content))
    return labels, splits, relations
