"""Leases: an attempt's right to write to its job, renewed while it runs, and recovered when it was lost."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_, select, text, update
from sqlalchemy.orm import Session

from analysis.scheduling.fair_share import CHARGE_EVERY_S
from heldout.errors import LeaseLost
from heldout.lifecycle.job import FailureCode, JobEvent, JobRequest, JobStatus, decide_after_failure
from heldout.work.kinds import KINDS_IN_SLOTS, KINDS_OF_WORKERS, JobKind
from models.database import db_now
from models.store import accounts, studies
from models.store.claims.finding import IS_DUE, IS_READY
from models.store.statements import find_one
from models.store.transitions import move
from models.tables import JobRow, StudyRow
from models.wake import WakeUp


@dataclass(frozen=True)
class HeldAttempt:
    """The right to write to a job: its id and the attempt that claimed it."""

    job_id: str
    attempt: int


def require_held(session: Session, held: HeldAttempt) -> JobRow:
    """Lock the running row if this attempt still holds it.

    Raises:
        LeaseLost: if another attempt holds it, or it no longer runs.
    """
    query = select(JobRow).where(*is_held_by(held)).with_for_update()
    return find_one(session, query, LeaseLost(held.job_id, held.attempt))


def renew(session: Session, worker: str, held: Collection[HeldAttempt], lease_s: float) -> set[HeldAttempt]:
    """Renew the leases of attempts that still hold their jobs, and charge their owners. Returns these attempts."""
    still_held = set()
    # Always in the same order, to avoid deadlocks.
    for attempt in sorted(held, key=lambda h: h.job_id):
        renewed = session.execute(
            update(JobRow)
            .where(*is_held_by(attempt))
            .values(lease_expires_at=db_now(lease_s), worker=worker)
            .returning(JobRow.charged_s, JobRow.attempt_started_at, JobRow.lease_expires_at)
        ).one_or_none()
        if renewed is None:
            continue
        still_held.add(attempt)
        charged_s, began, expires = renewed
        elapsed_s = 0.0 if began is None or expires is None else (expires - began).total_seconds() - lease_s
        if elapsed_s - charged_s >= CHARGE_EVERY_S:
            accounts.charge_running(session, session.get_one(JobRow, attempt.job_id), elapsed_s)
    return still_held


def get_requests(session: Session, held: Collection[HeldAttempt]) -> Mapping[HeldAttempt, JobRequest | None]:
    """Get the clients' requests for the jobs of these attempts. Omits attempts that no longer hold their job."""
    rows = session.execute(
        select(JobRow.id, JobRow.attempt, JobRow.request).where(
            JobRow.id.in_([attempt.job_id for attempt in held]), JobRow.status == JobStatus.RUNNING
        )
    )
    found = {HeldAttempt(id_, attempt): request for id_, attempt, request in rows}
    return {attempt: found[attempt] for attempt in held if attempt in found}


def write_held(session: Session, held: HeldAttempt, **values: Any) -> None:
    """Change columns of the running row. Raises LeaseLost if this attempt no longer holds it."""
    written = session.execute(
        update(JobRow).where(*is_held_by(held)).values(**values).returning(JobRow.id)
    ).scalar_one_or_none()
    if written is None:
        raise LeaseLost(held.job_id, held.attempt)


def is_held_by(held: HeldAttempt) -> tuple[ColumnElement[bool], ...]:
    return JobRow.id == held.job_id, JobRow.attempt == held.attempt, JobRow.status == JobStatus.RUNNING


def find_work(session: Session) -> tuple[datetime, bool]:
    """Get the database's time, and whether any job is waiting or running or any study is running."""
    # Literals, so that partial indexes are used; there may be a million other rows.
    queued, running = (select(JobRow.id).where(text(f"jobs.status = '{status}'")) for status in ("queued", "running"))
    studies_running = select(StudyRow.id).where(text("studies.status = 'running'"))
    row = session.execute(select(db_now(), or_(queued.exists(), running.exists(), studies_running.exists()))).one()
    return row[0], bool(row[1])


def find_waiting_kinds(session: Session, kinds: Collection[JobKind]) -> frozenset[JobKind]:
    """Find which of these kinds have a job that could start now if a worker had room for it."""
    if not kinds:
        return frozenset()
    # A literal, as in `find_work`.
    is_waiting = text("jobs.status = 'queued'"), IS_DUE
    are_there = (select(JobRow.id).where(*is_waiting, JobRow.kind == kind).exists() for kind in kinds)
    found = session.execute(select(*are_there)).one()
    return frozenset(kind for kind, is_there in zip(kinds, found, strict=True) if is_there)


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
