"""Diagnoses a job: collects what is stored about it, and asks `heldout.diagnosis`."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from heldout.diagnosis import ALL_SPLITS, Diagnosis, Evaluation, diagnose
from heldout.diagnosis.evaluation import build_from_final
from heldout.diagnosis.findings import NOT_STARTED
from heldout.diagnosis.history import History, measures_training_at_end, read_history
from heldout.errors import HeldoutError
from heldout.lifecycle.job import JobStatus
from heldout.spec.validation import trains_on_all
from heldout.stored.artifacts import ArtifactName
from models.blobs import Blobs
from models.database import Session
from models.store import metrics
from models.store.claims import Result
from models.stored_files import (
    find_json_artifact,
    read_audit,
    read_evaluation,
    read_gap,
    read_unless_lost,
    read_wrong_labels,
)
from models.tables import DatasetRow, EpochRow, JobRow

CURVES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy")


def diagnose_job(
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
    if job.status == JobStatus.QUEUED and not metrics.list_epochs(session, job.id):
        return NOT_STARTED
    return _judge(session, blobs, job, splits, result)


def _judge(session: Session, blobs: Blobs, job: JobRow, splits: AbstractSet[str], result: Result | None) -> Diagnosis:
    left_out: list[HeldoutError] = []
    dataset = session.get_one(DatasetRow, job.dataset_id)
    evaluation = _build_evaluation(
        session, blobs, job, dataset, result, left_out
    )  # first: reading it takes most memory
    audit = read_unless_lost(left_out, lambda: read_audit(session, blobs, dataset))
    history = _build_history(metrics.list_epochs(session, job.id), job.spec)
    found = diagnose(
        history,
        None if audit is None else audit.findings,
        evaluation,
        job.spec,
        splits=splits,
        labels=read_unless_lost(left_out, lambda: read_wrong_labels(session, blobs, dataset)),
    )
    return replace(found, left_out=tuple(left_out))


def diagnose_job_wholly(
    session: Session,
    blobs: Blobs,
    job: JobRow,
    *,
    splits: AbstractSet[str] = ALL_SPLITS,
    result: Result | None = None,
) -> Diagnosis:
    """What `diagnose_job` gives, for choices that nobody looks at: with nothing left out, and by the audit alone for a
    job that has not started.

    Raises:
        DatasetLost, DatasetDamaged, ArtifactLost, ArtifactDamaged, and what `diagnose_job` does.
    """
    found = _judge(session, blobs, job, splits, result)
    if found.left_out:
        raise found.left_out[0]
    return found


def _build_history(epochs: Sequence[EpochRow], spec: Mapping[str, Any]) -> History:
    """The curves that the job's epochs have; those of `fit` stand for training's where it is measured at the end."""
    # A figure that is null was not finite; one that was never measured must not be taken for such.
    unmeasured = [("train_", measures_training_at_end(spec)), ("validation_", trains_on_all(spec))]
    left_out = tuple(prefix for prefix, is_left_out in unmeasured if is_left_out)
    names = [name for name in CURVES if not name.startswith(left_out)]
    return read_history([{name: getattr(row, name) for name in names} for row in epochs])


def _build_evaluation(
    session: Session,
    blobs: Blobs,
    job: JobRow,
    dataset: DatasetRow,
    result: Result | None,
    left_out: list[HeldoutError],
) -> Evaluation | None:
    if result is not None:
        final = result.final
        files = {artifact.name: artifact for artifact in result.artifacts}
        scores, gap = files.get(ArtifactName.EVALUATION), files.get(ArtifactName.GAP)
    elif (stored := metrics.get_final(session, job.id)) is not None:
        final = stored
        scores, gap = (
            find_json_artifact(session, job.id, name) for name in (ArtifactName.EVALUATION, ArtifactName.GAP)
        )
    else:
        return None
    return build_from_final(
        final,
        dataset.classes or (),
        read_unless_lost(left_out, lambda: read_evaluation(blobs, scores)),
        read_unless_lost(left_out, lambda: read_gap(blobs, gap)),
    )
