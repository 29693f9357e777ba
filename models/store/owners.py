"""Usage of owners by hour, and the operator's actions: list, limit, suspend, and cancel all jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, literal, select, union, update
from sqlalchemy.orm import Session

from analysis.scheduling.fair_share import compute_used
from heldout.access.rights import Quota, get_bound
from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.views.account import Bucket, Group, QuotaView, UsageBucket
from heldout.work.kinds import JobKind
from models.database import db_now
from models.store import accounts, jobs, studies
from models.store.quotas import get_bounds, get_used
from models.tables import JobRow, KeyRow, OwnerRow, UsageRow

# How many jobs one transaction cancels.
CANCELLED_AT_ONCE = 20


@dataclass(frozen=True)
class Owner:
    """The operator's view of an owner. used_slot_s: recent usage, see analysis/scheduling/fair_share.py."""

    name: str
    weight: float
    used_slot_s: float
    queued: int
    running: int
    suspended_at: datetime | None
    held_until: datetime | None
    own_quotas: Mapping[str, int | None]


def list_owners(session: Session) -> Sequence[Owner]:
    """List all owners that have a key or ever had a job, by name."""
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
    # The service's internal jobs have an owner without a name.
    return [_build_owner(name, rows.get(name), counts, at) for name in sorted(names) if name]


def find(session: Session, name: str) -> Owner | None:
    """Find the owner with that name."""
    return next((owner for owner in list_owners(session) if owner.name == name), None)


def limit(
    session: Session, name: str, *, weight: float | None = None, changes: Mapping[Quota, int | str | None]
) -> None:
    """Change the limits of an owner.

    Args:
        weight: its share of the slots relative to other owners. None leaves it unchanged.
        changes: for each quota, a number, None for no bound, or `default` for the settings' bound.
    """
    row, _ = accounts.lock_owner(session, name)
    if weight is not None:
        accounts.write_standing(session, name, replace(accounts.get_standing(row), weight=weight))
    own = {**(row.quotas or {}), **{quota.value: value for quota, value in changes.items()}}
    own = {quota: value for quota, value in own.items() if value != "default"}
    # The new bounds may allow more jobs. If not, the next claim will hold the owner again.
    _write(session, name, quotas=own, held_until=None)


def suspend(session: Session, name: str) -> None:
    """Refuse new work of an owner and start none of its jobs. Running jobs continue."""
    row, _ = accounts.lock_owner(session, name)
    if row.suspended_at is None:
        _write(session, name, suspended_at=db_now())


def resume(session: Session, name: str) -> bool:
    """Lift an owner's suspension. Returns False if it was not suspended."""
    row, _ = accounts.lock_owner(session, name)
    _write(session, name, suspended_at=None)
    return row.suspended_at is not None


def is_suspended(session: Session, name: str) -> bool:
    """Return whether the operator has suspended the owner."""
    row = session.get(OwnerRow, name)
    return row is not None and row.suspended_at is not None


def cancel_some_jobs(session: Session, name: str, after: str) -> Sequence[str]:
    """Cancel the next jobs of an owner, of all kinds, and return their ids."""
    query = select(JobRow).where(JobRow.owner == name, JobRow.id > after, JobRow.status.not_in(TERMINAL))
    rows = session.scalars(query.order_by(JobRow.id).limit(CANCELLED_AT_ONCE).with_for_update()).all()
    studies.lock_of_jobs(session, rows)
    for row in rows:
        jobs.cancel_locked(session, row)
    return [row.id for row in rows]


def add_missing(session: Session) -> None:
    """Add missing rows of owners with waiting jobs. An earlier release that runs at the same time adds no rows."""
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
) -> Sequence[UsageBucket]:
    """List the owner's usage from the bucket of `begin` until before `end`, both in UTC. Omits empty buckets."""
    key_id = UsageRow.key_id if group_by == "key" else literal("")
    kind = UsageRow.kind if group_by == "kind" else literal(None)
    hours = session.execute(
        select(UsageRow.hour, key_id, kind, func.sum(UsageRow.jobs), func.sum(UsageRow.slot_s))
        .where(UsageRow.owner == owner, UsageRow.hour >= _get_start(begin, bucket), UsageRow.hour < end)
        .group_by(UsageRow.hour, *([] if group_by is None else [key_id if group_by == "key" else kind]))
        .order_by(UsageRow.hour)
    )
    found: dict[tuple[datetime, str, JobKind | None], list[float]] = {}
    for hour, of_key, of_kind, count, slot_s in hours:
        start = _get_start(hour, bucket)
        used = found.setdefault((start, of_key, of_kind), [0, 0.0])
        used[0] += count
        used[1] += slot_s
    buckets = [
        UsageBucket(start=start, key_id=of_key or None, kind=of_kind, jobs=int(count), slot_seconds=slot_s)
        for (start, of_key, of_kind), (count, slot_s) in found.items()
    ]
    return sorted(buckets, key=lambda bucket: (bucket.start, bucket.key_id or "", bucket.kind or ""))


def list_quotas(session: Session, owner: str) -> list[QuotaView]:
    """List all quotas of an owner."""
    own = session.scalar(select(OwnerRow.quotas).where(OwnerRow.owner == owner))
    bounds = get_bounds(session)
    return [
        QuotaView(quota=quota, used=get_used(session, owner, quota), allowed=get_bound(quota, bounds, own))
        for quota in Quota
    ]


def _get_start(moment: datetime, bucket: Bucket) -> datetime:
    """Get the start of the hour or day of that time."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return hour if bucket == "hour" else hour.replace(hour=0)
