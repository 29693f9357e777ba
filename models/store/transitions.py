"""The one function that changes a job's status."""

from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from heldout.errors import LeaseLost
from heldout.lifecycle.job import TERMINAL, JobEvent, JobStatus, StopReason, event_after_request, next_status
from heldout.work.kinds import KINDS, JobKind
from models.database import db_now
from models.store import accounts, events
from models.store.job_ends import AFTER_END
from models.store.sorting import summary_columns
from models.tables import JobRow


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
    """Compare and swap a row that this transaction has read: its state, attempt and request must be as read.

    Raises:
        ImpossibleTransition: if the table of transitions has no such row.
        LeaseLost: if the row has changed since it was read.
    """
    event = event_after_request(event, row.request)
    status = next_status(row.status, event)
    if event is not JobEvent.SUCCEED:
        stop_reason = StopReason.CANCELLED if event is JobEvent.CANCEL else None
    is_final = status in TERMINAL
    ran_s = seconds_since(session, row.attempt_started_at) if row.status is JobStatus.RUNNING else 0.0
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
            **({} if is_final else summary_columns(None)),
            version=JobRow.version + 1,
        )
        .returning(JobRow.id)
        .execution_options(synchronize_session=False)
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
        message = f"Cancelled.{' Whole epochs are kept.' if row.kind is JobKind.TRAIN else ''}"
        events.add(session, row.id, "job.cancelled", message, data={"attempt": row.attempt})
    elif status is JobStatus.FAILED:
        detail = error["detail"] if error else ""
        events.add(session, row.id, "job.failed", detail, level="error", data={"error": error})


def now(session: Session) -> datetime:
    """The database's clock."""
    return session.scalar(select(db_now()))  # type: ignore[return-value]  # never null


def seconds_since(session: Session, moment: datetime | None) -> float:
    """Seconds by the database's clock; 0 for None."""
    return 0.0 if moment is None else max(0.0, (now(session) - moment).total_seconds())
