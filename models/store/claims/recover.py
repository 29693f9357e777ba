"""Recovers jobs of lost workers, jobs that waited too long, and jobs whose wake-up was never sent."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select, text, update
from sqlalchemy.orm import Session

from heldout.lifecycle.job import FailureCode, JobEvent, JobStatus, decide_after_failure
from heldout.work.kinds import KINDS_IN_SLOTS, KINDS_OF_WORKERS, JobKind
from models.database import db_now
from models.store import studies
from models.store.claims.finding import IS_READY
from models.store.transitions import move
from models.tables import JobRow, StudyRow
from models.wake import WakeUp


def find_work(session: Session) -> tuple[datetime, bool]:
    """Get the database's time, and whether any job is waiting or running or any study is running."""
    # Literals, so that partial indexes are used; there may be a million other rows.
    queued, running = (select(JobRow.id).where(text(f"jobs.status = '{status}'")) for status in ("queued", "running"))
    studies_running = select(StudyRow.id).where(text("studies.status = 'running'"))
    row = session.execute(select(db_now(), or_(queued.exists(), running.exists(), studies_running.exists()))).one()
    return row[0], bool(row[1])


def is_training_waiting(session: Session) -> bool:
    """Whether a training could start now if a worker had room for it."""
    is_due = or_(JobRow.available_at.is_(None), JobRow.available_at <= db_now())
    # A literal, as in `find_work`.
    waiting = select(JobRow.id).where(text("jobs.status = 'queued'"), JobRow.kind == JobKind.TRAIN, is_due)
    return bool(session.scalar(select(waiting.exists())))


def recover_expired_leases(session: Session, limit: int = 100) -> list[tuple[str, JobStatus]]:
    """Queue or fail running jobs whose lease has expired. Returns their ids and new statuses.

    Their workers may still be running, but the next claim's attempt number fences them off.
    """
    # Trainings that run elsewhere are leased again when a runner asks.
    is_lost = (JobRow.lease_expires_at < db_now(), JobRow.kind.in_(KINDS_OF_WORKERS))
    rows = _lock_jobs(session, JobRow.status == JobStatus.RUNNING, *is_lost, limit=limit)
    return [(row.id, _lose(session, row, "The worker's lease expired.", counts_as_failure=True)) for row in rows]


def recover_from_dead_workers(
    session: Session, name_prefix: str, *, counts_as_failure: bool = False
) -> list[tuple[str, JobStatus]]:
    """Queue or fail the jobs of workers that are known to be dead, without waiting for their leases to expire.

    Args:
        name_prefix: the prefix of these workers' names.
        counts_as_failure: whether the job may have caused the death.
    """
    is_theirs = JobRow.worker.startswith(name_prefix, autoescape=True)
    rows = _lock_jobs(session, JobRow.status == JobStatus.RUNNING, is_theirs)
    detail = "The worker died." if counts_as_failure else "The service was restarted."
    return [(row.id, _lose(session, row, detail, counts_as_failure=counts_as_failure)) for row in rows]


def expire_pending(session: Session) -> list[str]:
    """Fail queued jobs that have waited longer than their `max_pending_s`. Returns their ids."""
    expired = _lock_jobs(session, JobRow.status == JobStatus.QUEUED, JobRow.pending_until < db_now(), limit=100)
    for row in expired:
        error = {
            "code": FailureCode.PENDING_TOO_LONG,
            "detail": "No worker took the job within limits.max_pending_s. Add workers or raise the limit.",
        }
        move(session, row, JobEvent.EXPIRE, error=error)
    return [row.id for row in expired]


def _lock_jobs(session: Session, *conditions: ColumnElement[bool], limit: int | None = None) -> Sequence[JobRow]:
    """Lock jobs that no one else has locked, and their studies, always in the same order."""
    query = select(JobRow).where(*conditions).order_by(JobRow.id).limit(limit)
    rows = session.scalars(query.with_for_update(skip_locked=True)).all()
    studies.lock_of_jobs(session, rows)
    return rows


def take_wake_ups_to_repeat(session: Session, older_than_s: float, limit: int = 1000) -> list[WakeUp]:
    """Take wake-ups for ready jobs that use a slot and were never announced, or more than `older_than_s` ago.

    They count as announced now. The caller publishes them after the commit.
    """
    rows = session.execute(
        select(JobRow.id, JobRow.gpus)
        .where(
            *IS_READY,
            JobRow.kind.in_(KINDS_IN_SLOTS),
            or_(JobRow.announced_at.is_(None), JobRow.announced_at < db_now(-older_than_s)),
        )
        .order_by(JobRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        session.execute(update(JobRow).where(JobRow.id.in_([row.id for row in rows])).values(announced_at=db_now()))
    return [WakeUp.for_job(row.id, row.gpus) for row in rows]


def _lose(session: Session, row: JobRow, detail: str, *, counts_as_failure: bool) -> JobStatus:
    if not counts_as_failure:
        return move(session, row, JobEvent.LOSE)
    failures = row.failures + 1
    is_final = decide_after_failure(failures, FailureCode.WORKER_LOST).event is JobEvent.FAIL
    event = JobEvent.FAIL if is_final else JobEvent.LOSE
    return move(session, row, event, error={"code": FailureCode.WORKER_LOST, "detail": detail}, failures=failures)
