"""What owners have used, hour by hour, and what the operator does to them: look, limit, suspend, cancel all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, literal, select, union, update
from sqlalchemy.orm import Session

from analysis.scheduling.fair_share import compute_used
from heldout.access.quotas import Quota, get_bound
from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.lifecycle.study import StudyStatus
from heldout.views.usage import Bucket, Group
from heldout.work.kinds import JobKind
from models.database import db_now
from models.store import accounts, jobs, studies
from models.store.quotas import get_bounds, get_used
from models.tables import JobRow, KeyRow, StudyRow
from models.tables_owners import OwnerRow, UsageRow
from models.usage import QuotaState, Used

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


def list_owners(session: Session) -> Sequence[Owner]:
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
    return [_build_owner(name, rows.get(name), counts, at) for name in sorted(names) if name]


def find(session: Session, name: str) -> Owner | None:
    """The owner of that name."""
    return next((owner for owner in list_owners(session) if owner.name == name), None)


def limit(
    session: Session, name: str, *, weight: float | None = None, changes: Mapping[Quota, int | str | None]
) -> None:
    """Change what an owner may take.

    Args:
        weight: its share of the slots beside others'; None leaves it.
        changes: a number, None for no bound, or `default` for that of the settings.
    """
    row, _ = accounts.lock_owner(session, name)
    if weight is not None:
        accounts.write_standing(session, name, replace(accounts.get_standing(row), weight=weight))
    own = {**(row.quotas or {}), **{quota.value: value for quota, value in changes.items()}}
    own = {quota: value for quota, value in own.items() if value != "default"}
    # With other bounds it may begin jobs again; if not, the next claim finds out.
    _write(session, name, quotas=own, held_until=None)


def suspend(session: Session, name: str) -> None:
    """Accept nothing new of an owner and begin none of its jobs. What runs goes on."""
    row, _ = accounts.lock_owner(session, name)
    if row.suspended_at is None:
        _write(session, name, suspended_at=db_now())


def resume(session: Session, name: str) -> bool:
    """Let a suspended owner go on; False if it was not suspended."""
    row, _ = accounts.lock_owner(session, name)
    _write(session, name, suspended_at=None)
    return row.suspended_at is not None


def is_suspended(session: Session, name: str) -> bool:
    """Whether the operator has suspended the owner."""
    row = session.get(OwnerRow, name)
    return row is not None and row.suspended_at is not None


def list_running_studies(session: Session, name: str) -> Sequence[str]:
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


def _build_owner(name: str, row: OwnerRow | None, counts: Mapping[tuple[str, JobStatus], int], at: datetime) -> Owner:
    queued, running = (counts.get((name, status), 0) for status in (JobStatus.QUEUED, JobStatus.RUNNING))
    if row is None:
        return Owner(name, 1.0, 0.0, queued, running, None, None, {})
    used_slot_s = compute_used(accounts.get_standing(row), at.timestamp())
    return Owner(
        name, row.weight, used_slot_s, queued, running, row.suspended_at, row.held_until, dict(row.quotas or {})
    )


def _write(session: Session, name: str, **values: object) -> None:
    session.execute(update(OwnerRow).where(OwnerRow.owner == name).values(**values))


def list_buckets(
    session: Session, owner: str, begin: datetime, end: datetime, *, bucket: Bucket, group_by: Group | None
) -> Sequence[Used]:
    """What the owner has used from the bucket of `begin` to before `end`, both in UTC; empty buckets are absent."""
    key_id = UsageRow.key_id if group_by == "key" else literal("")
    kind = UsageRow.kind if group_by == "kind" else literal(None)
    hours = session.execute(
        select(UsageRow.hour, key_id, kind, func.sum(UsageRow.jobs), func.sum(UsageRow.slot_s))
        .where(UsageRow.owner == owner, UsageRow.hour >= _start(begin, bucket), UsageRow.hour < end)
        .group_by(UsageRow.hour, *([] if group_by is None else [key_id if group_by == "key" else kind]))
        .order_by(UsageRow.hour)
    )
    found: dict[tuple[datetime, str, JobKind | None], Used] = {}
    for hour, of_key, of_kind, count, slot_s in hours:
        start = _start(hour, bucket)
        used = found.setdefault((start, of_key, of_kind), Used(start, of_key or None, of_kind, 0, 0.0))
        used.jobs += count
        used.slot_s += slot_s
    return sorted(found.values(), key=lambda row: (row.start, row.key_id or "", row.kind or ""))


def list_quotas(session: Session, owner: str) -> Sequence[QuotaState]:
    """All quotas of an owner."""
    own = session.scalar(select(OwnerRow.quotas).where(OwnerRow.owner == owner))
    bounds = get_bounds(session)
    return [QuotaState(quota, get_used(session, owner, quota), get_bound(quota, bounds, own)) for quota in Quota]


def _start(moment: datetime, bucket: Bucket) -> datetime:
    """The beginning of the hour or day of that moment."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return hour if bucket == "hour" else hour.replace(hour=0)
