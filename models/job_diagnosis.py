"""Diagnoses a job: collects what is stored about it, and asks `heldout.diagnosis`."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from heldout.diagnosis import ALL_SPLITS, Diagnosis, Evaluation, diagnose
from heldout.diagnosis.evaluation import from_final
from heldout.diagnosis.findings import NOT_STARTED
from heldout.diagnosis.history import History, from_epochs, measures_training_at_end
from heldout.errors import HeldoutError
from heldout.lifecycle.job import JobStatus
from heldout.spec.validation import trains_on_all
from heldout.stored.artifacts import ArtifactName
from models.blobs import Blobs
from models.database import Session
from models.store import metrics
from models.store.claims import Result
from models.stored_files import json_artifact_of, read_audit, read_evaluation, read_gap, unless_lost, wrong_labels_of
from models.tables import DatasetRow, EpochRow, JobRow

CURVES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy")


def diagnosis_of(
    session: Session,
    blobs: Blobs,
    job: JobRow,
    *,
    splits: AbstractSet[str] = ALL_SPLITS,
    result: Result | None = None,
) -> Diagnosis:
    """Judge a job by its epochs so far, its dataset's audit, and the counts of its kept weights once it has some.

    A job that waits for its first epoch is not judged.

    Args:
        splits: which splits may be used. Automatic choices pass `heldout.diagnosis.WITHOUT_TEST`.
        result: of a training that is about to succeed and whose result is not stored yet.
    Files that are lost or damaged are left out, and are in `left_out`.

    Raises:
        StorageUnavailable, FileOfLaterRelease.
    """
    if job.status == JobStatus.QUEUED and not metrics.epochs_of(session, job.id):
        return NOT_STARTED
    return _judge(session, blobs, job, splits, result)


def _judge(session: Session, blobs: Blobs, job: JobRow, splits: AbstractSet[str], result: Result | None) -> Diagnosis:
    left_out: list[HeldoutError] = []
    dataset = session.get_one(DatasetRow, job.dataset_id)
    evaluation = _evaluation(session, blobs, job, dataset, result, left_out)  # first: reading it takes most memory
    audit = unless_lost(left_out, lambda: read_audit(session, blobs, dataset))
    history = _history(metrics.epochs_of(session, job.id), job.spec)
    found = diagnose(
        history,
        None if audit is None else audit.findings,
        evaluation,
        job.spec,
        splits=splits,
        labels=unless_lost(left_out, lambda: wrong_labels_of(session, blobs, dataset)),
    )
    return replace(found, left_out=tuple(left_out))


def whole_diagnosis_of(
    session: Session,
    blobs: Blobs,
    job: JobRow,
    *,
    splits: AbstractSet[str] = ALL_SPLITS,
    result: Result | None = None,
) -> Diagnosis:
    """What `diagnosis_of` gives, for choices that nobody looks at: with nothing left out, and by the audit alone for a
    job that has not started.

    Raises:
        DatasetLost, DatasetDamaged, ArtifactLost, ArtifactDamaged, and what `diagnosis_of` does.
    """
    found = _judge(session, blobs, job, splits, result)
    if found.left_out:
        raise found.left_out[0]
    return found


def _history(epochs: Sequence[EpochRow], spec: Mapping[str, Any]) -> History:
    """The curves that the job's epochs have; those of `fit` stand for training's where it is measured at the end."""
    # A figure that is null was not finite; one that was never measured must not be taken for such.
    unmeasured = [("train_", measures_training_at_end(spec)), ("validation_", trains_on_all(spec))]
    left_out = tuple(prefix for prefix, is_left_out in unmeasured if is_left_out)
    names = [name for name in CURVES if not name.startswith(left_out)]
    return from_epochs([{name: getattr(row, name) for name in names} for row in epochs])


def _evaluation(
    session: Session,
    blobs: Blobs,
    job: JobRow,
    dataset: DatasetRow,
    result: Result | None,
    left_out: list[HeldoutError],
) -> Evaluation | None:
    if result is not None:
        final = result.final
        files = {one.name: one for one in result.artifacts}
        scores, gap = files.get(ArtifactName.EVALUATION), files.get(ArtifactName.GAP)
    elif (stored := metrics.final_of(session, job.id)) is not None:
        final = stored
        scores, gap = (json_artifact_of(session, job.id, name) for name in (ArtifactName.EVALUATION, ArtifactName.GAP))
    else:
        return None
    return from_final(
        final,
        dataset.classes or (),
        unless_lost(left_out, lambda: read_evaluation(blobs, scores)),
        unless_lost(left_out, lambda: read_gap(blobs, gap)),
    )
