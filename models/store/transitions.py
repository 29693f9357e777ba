"""The only function that changes a job's status, and the follow-up work when a job of each kind ends."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from heldout.errors import LeaseLost
from heldout.lifecycle.job import TERMINAL, JobEvent, JobStatus, StopReason, get_event_after_request, get_next_status
from heldout.lifecycle.resources import ModelRejectionCode, ModelStatus, RelationsStatus, SearchStatus
from heldout.stored.artifacts import ExportStatus
from heldout.work.kinds import KINDS, JobKind, require_all_kinds
from models.database import db_now
from models.store import accounts, events, metrics, proofs, studies
from models.store.datasets import reject_ingested
from models.store.listing import get_summary_columns
from models.store.study_steps import advance
from models.tables import DatasetRow, ExportRow, JobRow, ModelRow


def move(
    session: Session,
    row: JobRow,
    event: JobEvent,
    *,
    stop_reason: StopReason | None = None,
    error: dict[str, Any] | None = None,
    failures: int | None = None,
    backoff_s: float = 0.0,
) -> JobStatus:
    """Change a job's status by compare-and-set. Its status, attempt and request must still be as this transaction read.

    Raises:
        ImpossibleTransition: if the transition is not allowed.
        LeaseLost: if the row has changed since it was read.
    """
    event = get_event_after_request(event, row.request)
    status = get_next_status(row.status, event)
    if event is not JobEvent.SUCCEED:
        stop_reason = StopReason.CANCELLED if event is JobEvent.CANCEL else None
    is_final = status in TERMINAL
    ran_s = count_seconds_since(session, row.attempt_started_at) if row.status is JobStatus.RUNNING else 0.0
    moved = session.execute(
        update(JobRow)
        .where(
            JobRow.id == row.id,
            JobRow.status == row.status,
            JobRow.attempt == row.attempt,
            JobRow.request.is_(None) if row.request is None else JobRow.request == row.request,
        )
        .values(
            status=status,
            request=None,
            stop_reason=stop_reason.value if stop_reason else None,
            error=error if status is JobStatus.FAILED else None,
            failures=row.failures if failures is None else failures,
            worker=None,
            lease_expires_at=None,
            eta_s=None,
            runtime_s=JobRow.runtime_s + ran_s,
            charged_s=0.0,
            available_at=db_now(backoff_s) if status is JobStatus.QUEUED and backoff_s else None,
            announced_at=None,
            finished_at=db_now() if is_final else None,
            **({} if is_final else get_summary_columns(None)),
            version=JobRow.version + 1,
        )
        .returning(JobRow.id)
    ).scalar_one_or_none()
    if moved is None:
        raise LeaseLost(row.id, row.attempt)
    if row.status is JobStatus.RUNNING:
        accounts.charge_end(session, row, ran_s)
    if is_final:
        AFTER_END[row.kind](session, row, status, error)
    _add_event(session, row, event, status, error, backoff_s, stop_reason)
    return status


def _add_event(
    session: Session,
    row: JobRow,
    event: JobEvent,
    status: JobStatus,
    error: dict[str, Any] | None,
    backoff_s: float,
    stop_reason: StopReason | None,
) -> None:
    if event is JobEvent.RESUME:
        events.add(session, row.id, "job.resumed", "Back in the queue.")
    elif status is JobStatus.QUEUED:
        why = {
            JobEvent.RELEASE: "Its worker was stopped.",
            JobEvent.LOSE: error["detail"] if error else "The service was restarted.",
            JobEvent.RETRY: f"The attempt failed: {error['detail'] if error else ''}",
        }[event]
        events.add(
            session,
            row.id,
            "job.requeued",
            f"Back in the queue. {why}",
            level="info" if event is JobEvent.RELEASE else "warning",
            data={"attempt": row.attempt, "reason": event.value, "backoff_s": backoff_s, "error": error},
        )
    elif status is JobStatus.PAUSED:
        events.add(session, row.id, "job.paused", "Paused.", data={"attempt": row.attempt})
    elif status is JobStatus.SUCCEEDED:
        reason = stop_reason.value if stop_reason else None
        message = KINDS[row.kind].success_message
        events.add(session, row.id, "job.succeeded", message, data={"stop_reason": reason})
    elif status is JobStatus.CANCELLED:
        message = f"Cancelled.{' Complete epochs are kept.' if row.kind is JobKind.TRAIN else ''}"
        events.add(session, row.id, "job.cancelled", message, data={"attempt": row.attempt})
    elif status is JobStatus.FAILED:
        detail = error["detail"] if error else ""
        events.add(session, row.id, "job.failed", detail, level="error", data={"error": error})


def get_now(session: Session) -> datetime:
    """Get the database's time."""
    return session.scalar(select(db_now()))  # type: ignore[return-value]  # never null


def count_seconds_since(session: Session, moment: datetime | None) -> float:
    """Count the seconds since a time, by the database's clock. None gives 0."""
    return 0.0 if moment is None else max(0.0, (get_now(session) - moment).total_seconds())


Error = dict[str, Any]


def _note_training_end(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """Summarize the epochs of a training that ended without its worker, and advance its study."""
    summary = metrics.get_best_epochs(session, job.id)
    if summary.best is not None:
        without = update(JobRow).where(JobRow.id == job.id, JobRow.summary.is_(None))
        session.execute(without.values(**get_summary_columns(summary)))
    if job.study_id is not None:
        advance(session, job.study_id, job, status)


def _note_evaluation_end(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """Advance the study, which does without test figures if the evaluation failed."""
    if job.study_id is None:
        return
    if status is not JobStatus.SUCCEEDED:
        why = "It was cancelled." if error is None else error["detail"]
        studies.write(session, job.study_id, test_failed=why)
    advance(session, job.study_id, job, status)


def _note_external_end(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    assert job.study_id is not None
    advance(session, job.study_id, job, status)


def _give_up_relations(session: Session, job: JobRow, error: Error | None) -> None:
    """Mark the dataset's copies as unknown. It is used without them, and the job is not queued again."""
    waits = (DatasetRow.id == job.dataset_id, DatasetRow.relations_status == RelationsStatus.QUEUED)
    session.execute(update(DatasetRow).where(*waits).values(relations_status=RelationsStatus.FAILED))


def _give_up_export(session: Session, job: JobRow, error: Error | None) -> None:
    """Mark the export as failed, with the reason. Clients may order it again."""
    why = error or {"code": "cancelled", "detail": "Its export was cancelled."}
    waits = (ExportRow.export_job_id == job.id, ExportRow.job_id == job.spec["job_id"])
    session.execute(update(ExportRow).where(*waits).values(status=ExportStatus.FAILED, error=why))


def _reject_model(session: Session, job: JobRow, error: Error | None) -> None:
    """Reject the model that a job failed to read. Otherwise it would stay in `checking` forever."""
    why = error or {"code": ModelRejectionCode.CANCELLED.value, "detail": "The check was cancelled."}
    shown, model_id = {"code": why["code"], "detail": why["detail"]}, job.spec["model"]
    is_checked = (ModelRow.id == model_id, ModelRow.status == ModelStatus.CHECKING)
    reject = update(ModelRow).where(*is_checked).values(status=ModelStatus.REJECTED, error=shown)
    if session.scalar(reject.returning(ModelRow.id)) is not None:
        events.add(session, model_id, "model.rejected", shown["detail"], level="error", data={"error": shown})


AfterEnd = Callable[[Session, JobRow, JobStatus, Error | None], None]


def _unless_succeeded(give_up: Callable[[Session, JobRow, Error | None], None]) -> AfterEnd:
    def after_end(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
        if status is not JobStatus.SUCCEEDED:
            give_up(session, job, error)

    return after_end


def _note_experiment_end(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """Note in its proof that an experiment has no figures. `models/proofs.py` continues the proof."""
    if status is not JobStatus.SUCCEEDED:
        proofs.note_without_figures(session, job, "cancelled" if error is None else error["code"])


def _give_up_search(column: InstrumentedAttribute[SearchStatus | None]) -> AfterEnd:
    """Mark a search through a dataset as failed. Clients may request it again."""

    def give_up(session: Session, job: JobRow, error: Error | None) -> None:
        waits = (DatasetRow.id == job.dataset_id, column == SearchStatus.QUEUED)
        session.execute(update(DatasetRow).where(*waits).values({column: SearchStatus.FAILED}))

    return _unless_succeeded(give_up)


def _do_nothing(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """Nothing else depends on the end of such a job."""


AFTER_END: Mapping[JobKind, AfterEnd] = require_all_kinds(
    {
        JobKind.TRAIN: _note_training_end,
        JobKind.INGEST: _unless_succeeded(reject_ingested),
        JobKind.DERIVE: _unless_succeeded(reject_ingested),
        JobKind.RELATE: _unless_succeeded(_give_up_relations),
        JobKind.FEATURES: _give_up_search(DatasetRow.features_status),
        JobKind.SUSPECT: _give_up_search(DatasetRow.suspects_status),
        JobKind.EVALUATE: _note_evaluation_end,
        JobKind.EXPORT: _unless_succeeded(_give_up_export),
        JobKind.HEATMAP: _do_nothing,
        JobKind.CHECK_MODEL: _unless_succeeded(_reject_model),
        JobKind.MEASURE: _do_nothing,
        JobKind.EXTERNAL: _note_external_end,
        JobKind.EXPERIMENT: _note_experiment_end,
        JobKind.IDLE_EXPERIMENT: _note_experiment_end,
    }
)
