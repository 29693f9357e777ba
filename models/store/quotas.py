"""What owners have taken, counted in the transaction that takes more.

A lock of its own for each owner makes the count exact until the commit. Rows of owners are not locked for it: these
come last in a transaction (models/store/accounts.py).
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import ceil

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from heldout.dataset_lifecycle import DatasetStatus
from heldout.errors import OwnerSuspended, QuotaExceeded
from heldout.kinds import KINDS_IN_SLOTS
from heldout.lifecycle import JobStatus
from heldout.quotas import COUNTED, Bounds, Quota, bound_of
from models.database import db_now
from models.store import accounts, locks
from models.tables import DatasetRow, JobRow, KeyRow, WebhookRow
from models.tables_owners import OwnerRow, UsageRow

# What each takes of.
OF_NEW_JOBS = (Quota.QUEUED_JOBS, Quota.SLOT_SECONDS)
OF_NEW_DATASETS = (Quota.DATASETS, Quota.STORED_BYTES)
OF_UPLOADS = (Quota.STORED_BYTES, *OF_NEW_JOBS)

_DATASETS = (DatasetRow.deleted_at.is_(None), DatasetRow.status != DatasetStatus.REJECTED)
_JOBS = select(func.count()).select_from(JobRow)
# How much of each an owner has, except for what is counted elsewhere.
_USED: Mapping[Quota, Callable[[str], Select[int]]] = {
    Quota.QUEUED_JOBS: lambda owner: _JOBS.where(JobRow.owner == owner, JobRow.status == JobStatus.QUEUED),
    Quota.RUNNING_JOBS: lambda owner: _JOBS.where(JobRow.owner == owner, *_RUNS_IN_SLOT),
    Quota.DATASETS: lambda owner: select(func.count()).where(DatasetRow.owner == owner, *_DATASETS),
    # The same content in two versions is stored once, and counts twice: either may be deleted.
    Quota.STORED_BYTES: lambda owner: select(func.coalesce(func.sum(DatasetRow.size_bytes), 0)).where(
        DatasetRow.owner == owner, *_DATASETS
    ),
    Quota.KEYS: lambda owner: select(func.count()).where(KeyRow.owner == owner, KeyRow.revoked_at.is_(None)),
    Quota.WEBHOOKS: lambda owner: select(func.count()).where(WebhookRow.owner == owner),
}
_RUNS_IN_SLOT = (JobRow.status == JobStatus.RUNNING, JobRow.kind.in_(KINDS_IN_SLOTS))


def require_room(session: Session, owner: str, bounds: Bounds, *quotas: Quota, asked: int = 1) -> None:
    """Refuse what would be too much, or anything new of an owner that is suspended.

    Until this transaction ends, no other one passes here for the same owner.

    Args:
        bounds: those of the settings; the owner's own come first.
        quotas: that the caller is about to take `asked` more of.
    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    locks.lock(session, "quotas", owner)
    row = session.execute(select(OwnerRow.quotas, OwnerRow.suspended_at).where(OwnerRow.owner == owner)).one_or_none()
    own = None if row is None else row.quotas
    if row is not None and row.suspended_at is not None:
        raise OwnerSuspended(owner)
    for quota in quotas:
        allowed = bound_of(quota, bounds, own)
        if allowed is None:
            continue
        if quota is Quota.SLOT_SECONDS:
            _require_slot_seconds(session, owner, allowed)
            continue
        used = used_of(session, owner, quota)
        # Of bytes nobody knows beforehand how many an upload unpacks to.
        is_too_much = used >= allowed if quota is Quota.STORED_BYTES else used + asked > allowed
        if is_too_much:
            raise QuotaExceeded(quota.value, COUNTED[quota], used, allowed, asked=asked)


def used_of(session: Session, owner: str, quota: Quota) -> float:
    """How much of it the owner has. Streams are counted where they are open."""
    if quota is Quota.SLOT_SECONDS:
        return slot_seconds_since(session, owner, _day_of(_now(session)))
    return session.scalar(_USED[quota](owner)) or 0


def slot_seconds_since(session: Session, owner: str, since: datetime) -> float:
    """Slot-seconds of the owner's jobs from the beginning of an hour on."""
    query = select(func.sum(UsageRow.slot_s)).where(UsageRow.owner == owner, UsageRow.hour >= since)
    return session.scalar(query) or 0.0


def full_owners(session: Session, bounds: Bounds) -> set[str]:
    """Owners that have as many running jobs as they may have. It may be outdated at once; `may_begin` is exact."""
    counted = select(JobRow.owner, func.count()).where(*_RUNS_IN_SLOT).group_by(JobRow.owner)
    running = {owner: count for owner, count in session.execute(counted)}  # noqa: C416  (typed so)
    default = bounds.get(Quota.RUNNING_JOBS)
    own = {
        owner: bound_of(Quota.RUNNING_JOBS, bounds, quotas)
        for owner, quotas in session.execute(
            select(OwnerRow.owner, OwnerRow.quotas).where(OwnerRow.owner.in_(running), OwnerRow.quotas.is_not(None))
        )
    }
    return {
        owner
        for owner, count in running.items()
        if (allowed := own.get(owner, default)) is not None and count >= allowed
    }


def may_begin(session: Session, owner: str, bounds: Bounds) -> bool:
    """Whether one more job of the owner may begin; until this transaction ends, nobody else asks for the same owner.

    An owner whose slot-seconds of the day are used up is held until the next one.
    """
    own = session.scalar(select(OwnerRow.quotas).where(OwnerRow.owner == owner))
    at_once = bound_of(Quota.RUNNING_JOBS, bounds, own)
    if at_once is not None:
        locks.lock(session, "running", owner)
        if used_of(session, owner, Quota.RUNNING_JOBS) >= at_once:
            return False
    of_a_day = bound_of(Quota.SLOT_SECONDS, bounds, own)
    if of_a_day is None:
        return True
    day = _day_of(_now(session))
    if slot_seconds_since(session, owner, day) < of_a_day:
        return True
    accounts.note_hold(session, owner, day + timedelta(days=1))
    return False


def _require_slot_seconds(session: Session, owner: str, allowed: int) -> None:
    at = _now(session)
    day = _day_of(at)
    used = slot_seconds_since(session, owner, day)
    if used >= allowed:
        left_s = ceil((day + timedelta(days=1) - at).total_seconds())
        quota = Quota.SLOT_SECONDS
        raise QuotaExceeded(quota.value, COUNTED[quota], used, allowed, retry_after_s=max(1, left_s))


def _now(session: Session) -> datetime:
    return session.scalars(select(db_now())).one()


def _day_of(moment: datetime) -> datetime:
    """The beginning of its day, in UTC."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
