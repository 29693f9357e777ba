"""What becomes of jobs that nobody looks after: of lost workers, overdue, or never announced."""

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from heldout.lifecycle import JobEvent, JobStatus, after_failure
from models.database import db_now
from models.store.claims.claiming import IS_READY
from models.store.transitions import move
from models.tables import JobRow
from models.wake import WakeUp


def take_back_lost(session: Session, limit: int = 100) -> list[tuple[str, JobStatus]]:
    """Settle jobs whose lease has run out; their workers are fenced by the next claim's attempt."""
    rows = session.scalars(
        select(JobRow)
        .where(JobRow.status == JobStatus.RUNNING, JobRow.lease_expires_at < db_now())
        .order_by(JobRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    return [(row.id, _lose(session, row, "worker_lost", "The worker's lease ran out.", counts=True)) for row in rows]


def take_back_of(session: Session, worker_prefix: str, *, counts: bool = False) -> list[tuple[str, JobStatus]]:
    """Settle jobs of workers that are known to be dead, without waiting for their leases.

    A failure is counted only if the job may have been the cause of the death.
    """
    rows = session.scalars(
        select(JobRow)
        .where(JobRow.status == JobStatus.RUNNING, JobRow.worker.startswith(worker_prefix, autoescape=True))
        .order_by(JobRow.id)
        .with_for_update(skip_locked=True)
    ).all()
    detail = "The worker died." if counts else "The service was restarted."
    return [(row.id, _lose(session, row, "worker_lost", detail, counts=counts)) for row in rows]


def expire_pending(session: Session, limit: int = 100) -> list[str]:
    """Fail queued jobs that have waited longer than their `max_pending_s`."""
    expired = session.scalars(
        select(JobRow)
        .where(JobRow.status == JobStatus.QUEUED, JobRow.pending_until < db_now())
        .order_by(JobRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for row in expired:
        error = {
            "code": "pending_too_long",
            "detail": "No worker took the job within limits.max_pending_s. Add workers or raise the limit.",
        }
        move(session, row, JobEvent.EXPIRE, error=error)
    return [row.id for row in expired]


def unannounced(session: Session, older_than_s: float, limit: int = 1000) -> list[WakeUp]:
    """Wake-ups for queued jobs whose last one is older than `older_than_s`; the caller publishes them."""
    rows = session.execute(
        select(JobRow.id, JobRow.gpus)
        .where(*IS_READY, or_(JobRow.announced_at.is_(None), JobRow.announced_at < db_now(-older_than_s)))
        .order_by(JobRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        session.execute(
            update(JobRow)
            .where(JobRow.id.in_([row.id for row in rows]))
            .values(announced_at=db_now())
            .execution_options(synchronize_session=False)
        )
    return [WakeUp.for_job(row.id, row.gpus) for row in rows]


def _lose(session: Session, row: JobRow, code: str, detail: str, *, counts: bool) -> JobStatus:
    if not counts:
        return move(session, row, JobEvent.LOSE)
    failures = row.failures + 1
    decision = after_failure(failures, code)
    event = JobEvent.LOSE if decision.event is JobEvent.RETRY else JobEvent.FAIL
    error = {"code": code, "detail": detail}
    return move(session, row, event, error=error, failures=failures, backoff_s=0.0)
