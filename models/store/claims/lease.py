"""Leases: an attempt's right to write to its job, and the requests that clients made of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from heldout.errors import LeaseLost
from heldout.lifecycle.job import JobRequest, JobStatus
from models.database import db_now
from models.store import accounts
from models.tables import JobRow


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
    row = session.scalars(select(JobRow).where(*is_held_by(held)).with_for_update()).one_or_none()
    if row is None:
        raise LeaseLost(held.job_id, held.attempt)
    return row


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
        if accounts.is_charge_due(charged_s, elapsed_s):
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
