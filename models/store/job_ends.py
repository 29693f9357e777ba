"""What follows the end of a job, for each kind, in the transaction that ends it."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from heldout.lifecycle.dataset import RelationsStatus, SuspectsStatus
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.model import ModelRejectionCode, ModelStatus
from heldout.stored.artifacts import ExportStatus
from heldout.work.kinds import JobKind
from models.store import events, metrics, studies
from models.store.dataset_transitions import reject_ingested
from models.store.sorting import summary_columns
from models.store.study_steps import advance
from models.tables import DatasetRow, ExportRow, JobRow
from models.tables_models import ModelRow

Error = dict[str, Any]


def _after_training(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    _keep_best_epoch(session, job)
    if job.study_id is not None:
        advance(session, job.study_id, job, status)


def _keep_best_epoch(session: Session, job: JobRow) -> None:
    """A training that ends without its worker (lost, or cancelled while paused) has a summary of its epochs too."""
    summary = metrics.best_epochs_of(session, job.id)
    if summary.best is not None:
        session.execute(
            update(JobRow)
            .where(JobRow.id == job.id, JobRow.summary.is_(None))
            .values(**summary_columns(summary))
            .execution_options(synchronize_session=False)
        )


def _reject_dataset(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """Reject the dataset that a job was to make and did not; otherwise it would stay in `checking` for ever."""
    if status is not JobStatus.SUCCEEDED:
        reject_ingested(session, job.dataset_id, error)


def _give_up_relations(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """A dataset whose copies could not be found is used without them: nobody queues the job again."""
    if status is not JobStatus.SUCCEEDED:
        session.execute(
            update(DatasetRow)
            .where(DatasetRow.id == job.dataset_id, DatasetRow.relations_status == RelationsStatus.QUEUED)
            .values(relations_status=RelationsStatus.FAILED)
            .execution_options(synchronize_session=False)
        )


def _give_up_suspects(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """Whoever asked for the suspected labels hears that there are none, and may ask again."""
    if status is not JobStatus.SUCCEEDED:
        session.execute(
            update(DatasetRow)
            .where(DatasetRow.id == job.dataset_id, DatasetRow.suspects_status == SuspectsStatus.QUEUED)
            .values(suspects_status=SuspectsStatus.FAILED)
            .execution_options(synchronize_session=False)
        )


def _after_evaluation(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """A study whose winner could not be measured on test is answered without."""
    if job.study_id is None:
        return
    if status is not JobStatus.SUCCEEDED:
        studies.note_test_failed(session, job.study_id, "It was cancelled." if error is None else error["detail"])
    advance(session, job.study_id, job, status)


def _after_export(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """Whoever asked for the model hears why there is none, and may order it again."""
    if status is not JobStatus.SUCCEEDED:
        cancelled = {"code": "cancelled", "detail": "Its export was cancelled."}
        session.execute(
            update(ExportRow)
            .where(ExportRow.export_job_id == job.id, ExportRow.job_id == job.spec["job_id"])
            .values(status=ExportStatus.FAILED, error=error or cancelled)
            .execution_options(synchronize_session=False)
        )


def _reject_model(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """Reject the model that a job was to read and could not; otherwise it would stay in `checking` for ever."""
    if status is not JobStatus.SUCCEEDED:
        _reject_checked(session, job.spec["model"], error)


def _keep_nothing(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """Nothing else waits for its end."""


AFTER_END: Mapping[JobKind, Callable[[Session, JobRow, JobStatus, Error | None], None]] = {
    JobKind.TRAIN: _after_training,
    JobKind.INGEST: _reject_dataset,
    JobKind.DERIVE: _reject_dataset,
    JobKind.RELATE: _give_up_relations,
    JobKind.SUSPECT: _give_up_suspects,
    JobKind.EVALUATE: _after_evaluation,
    JobKind.EXPORT: _after_export,
    JobKind.CHECK_MODEL: _reject_model,
    JobKind.MEASURE: _keep_nothing,
}


def _reject_checked(session: Session, model_id: str, error: dict[str, Any] | None) -> None:
    """Reject a model whose check ended without facts; nothing if it is not `checking` any more."""
    why = error or {"code": ModelRejectionCode.CANCELLED.value, "detail": "The check was cancelled."}
    said = {"code": why["code"], "detail": why["detail"]}
    rejected = session.scalar(
        update(ModelRow)
        .where(ModelRow.id == model_id, ModelRow.status == ModelStatus.CHECKING)
        .values(status=ModelStatus.REJECTED, error=said)
        .returning(ModelRow.id)
        .execution_options(synchronize_session=False)
    )
    if rejected is not None:
        events.add(session, model_id, "model.rejected", said["detail"], level="error", data={"error": said})
