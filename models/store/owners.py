"""What the operator does to owners: look, limit, suspend, cancel all that they have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select, union, update
from sqlalchemy.orm import Session

from analysis.scheduling.fair_share import used_at
from heldout.access.quotas import Quota
from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.lifecycle.study import StudyStatus
from models.database import db_now
from models.store import accounts, jobs, studies, usage
from models.tables import JobRow, KeyRow, StudyRow
from models.tables_owners import OwnerRow
from models.usage import QuotaState

# Jobs that are cancelled in one transaction.
CANCELLED_AT_ONCE = 200


@dataclass(frozen=True)
class Owner:
    """An owner as the operator sees it. used_slot_s: lately, see analysis/scheduling/fair_share.py."""

    name: str
    weight: float
    used_slot_s: float
    queued: int
    running: int
    suspended_at: datetime | None
    held_until: datetime | None
    own_quotas: Mapping[str, int | None]


def all_owners(session: Session) -> Sequence[Owner]:
    """Everybody who has a key, or has had a job, by name."""
    counts = {
        (owner, status): count
        for owner, status, count in session.execute(
            select(JobRow.owner, JobRow.status, func.count())
            .where(JobRow.status.in_([JobStatus.QUEUED, JobStatus.RUNNING]))
            .group_by(JobRow.owner, JobRow.status)
        )
    }
    rows = {row.owner: row for row in session.scalars(select(OwnerRow))}
    names = session.scalars(union(select(OwnerRow.owner), select(KeyRow.owner)))
    at = session.scalars(select(db_now())).one()
    # Jobs of the service itself have an owner without a name.
    return [_owner(name, rows.get(name), counts, at) for name in sorted(names) if name]


def find(session: Session, name: str) -> Owner | None:
    """The owner of that name."""
    return next((one for one in all_owners(session) if one.name == name), None)


def quotas(session: Session, name: str) -> Sequence[QuotaState]:
    """What the owner has, and may have."""
    return usage.quotas(session, name)


def limit(
    session: Session, name: str, *, weight: float | None = None, changes: Mapping[Quota, int | str | None]
) -> None:
    """Change what an owner may take.

    Args:
        weight: its share of the slots beside others'; None leaves it.
        changes: a number, None for no bound, or `default` for that of the settings.
    """
    row, _ = accounts.locked_owner(session, name)
    if weight is not None:
        accounts.write_standing(session, name, replace(accounts.standing_of(row), weight=weight))
    own = {**(row.quotas or {}), **{quota.value: value for quota, value in changes.items()}}
    own = {quota: value for quota, value in own.items() if value != "default"}
    # With other bounds it may begin jobs again; if not, the next claim finds out.
    _write(session, name, quotas=own, held_until=None)


def suspend(session: Session, name: str) -> None:
    """Accept nothing new of an owner and begin none of its jobs. What runs goes on."""
    row, _ = accounts.locked_owner(session, name)
    if row.suspended_at is None:
        _write(session, name, suspended_at=db_now())


def resume(session: Session, name: str) -> bool:
    """Let a suspended owner go on; False if it was not suspended."""
    row, _ = accounts.locked_owner(session, name)
    _write(session, name, suspended_at=None)
    return row.suspended_at is not None


def is_suspended(session: Session, name: str) -> bool:
    """Whether the operator has suspended the owner."""
    row = session.get(OwnerRow, name)
    return row is not None and row.suspended_at is not None


def running_studies(session: Session, name: str) -> Sequence[str]:
    """The owner's studies that have not ended."""
    mine = (StudyRow.owner == name, StudyRow.status == StudyStatus.RUNNING)
    return session.scalars(select(StudyRow.id).where(*mine).order_by(StudyRow.id)).all()


def cancel_jobs(session: Session, name: str, *, after: str = "") -> tuple[int, str | None]:
    """Cancel the next jobs of an owner, of all kinds; gives how many, and the id after which there may be more."""
    query = select(JobRow).where(JobRow.owner == name, JobRow.id > after, JobRow.status.not_in(TERMINAL))
    rows = session.scalars(query.order_by(JobRow.id).limit(CANCELLED_AT_ONCE).with_for_update()).all()
    studies.lock_of_jobs(session, rows)
    for row in rows:
        jobs.cancel_locked(session, row)
    return len(rows), rows[-1].id if rows else None


def add_missing(session: Session) -> None:
    """Give a row to owners whose jobs wait and who have none: a release before, running beside this one, adds none."""
    known = select(OwnerRow.owner).where(OwnerRow.owner == JobRow.owner).exists()
    waiting = select(JobRow.owner).where(JobRow.status == JobStatus.QUEUED, ~known).distinct()
    for name in sorted(session.scalars(waiting)):
        accounts.ensure_owner(session, name)


def _owner(name: str, row: OwnerRow | None, counts: Mapping[tuple[str, JobStatus], int], at: datetime) -> Owner:
    queued, running = (counts.get((name, status), 0) for status in (JobStatus.QUEUED, JobStatus.RUNNING))
    if row is None:
        return Owner(name, 1.0, 0.0, queued, running, None, None, {})
    used_slot_s = used_at(accounts.standing_of(row), at.timestamp())
    return Owner(
        name, row.weight, used_slot_s, queued, running, row.suspended_at, row.held_until, dict(row.quotas or {})
    )


def _write(session: Session, name: str, **values: object) -> None:
    session.execute(
        update(OwnerRow).where(OwnerRow.owner == name).values(**values).execution_options(synchronize_session=False)
    )
