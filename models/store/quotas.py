"""Quotas: what owners use, counted in the transaction that takes more.

Near a bound, an advisory lock per owner keeps the count exact until the commit. Rows of owners are not locked for this,
because they must be locked last (models/store/accounts.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, String, bindparam, func, or_, select
from sqlalchemy.orm import Session

from heldout.access.rights import Bounds, Quota, get_bound
from heldout.errors import OwnerSuspended, QuotaExceeded
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.resources import DatasetStatus, ModelStatus
from heldout.work.kinds import KINDS_IN_SLOTS, JobKind
from models.database import BOUNDS, UtcTime, db_now
from models.store import accounts, keys, statements
from models.tables import (
    DatasetRow,
    JobRow,
    KeyRow,
    ModelRow,
    OwnerRow,
    StreamPlaceRow,
    StudyRow,
    UploadPlaceRow,
    UsageRow,
    WebhookRow,
)

# The quotas that each action uses.
OF_NEW_JOBS = (Quota.QUEUED_JOBS, Quota.SLOT_SECONDS)
# The number of a study's first jobs is known only after its arms are examined.
OF_NEW_STUDIES = (Quota.STUDIES, *OF_NEW_JOBS)
OF_NEW_DATASETS = (Quota.DATASETS, Quota.STORED_BYTES)
# The size of an upload is known only after it was received.
OF_UPLOADS = (Quota.STORED_BYTES, *OF_NEW_JOBS)
# Quotas that a suspended owner may still use, because it may read.
OF_READING = frozenset({Quota.STREAMS})
# Quotas whose amount is known when a request is made.
EXACT = frozenset(Quota) - {Quota.SLOT_SECONDS}
DAY = timedelta(days=1)
# Transactions this near to a bound wait for others of the same owner, so that the count is exact. Farther away, they
# need not wait, because an owner never has that many open transactions.
NEAR = 500

_OWNER: BindParameter[str] = bindparam("owner", type_=String)
_RUNS_IN_SLOT = (JobRow.status == JobStatus.RUNNING, JobRow.kind.in_(KINDS_IN_SLOTS))
_OWNED = (DatasetRow.owner == _OWNER, DatasetRow.deleted_at.is_(None))
_DATASETS = (*_OWNED, DatasetRow.status != DatasetStatus.REJECTED)
# Some rejected datasets keep their upload for a while.
_WITH_FILES = (*_OWNED, or_(DatasetRow.status != DatasetStatus.REJECTED, DatasetRow.upload_kept_until > db_now()))
# Content shared by two versions is stored once but counts twice, because either version may be deleted.
_DATASET_BYTES = func.coalesce(DatasetRow.size_bytes, 0) + func.coalesce(DatasetRow.beside_bytes, 0)
_MODELS = (ModelRow.owner == _OWNER, ModelRow.status != ModelStatus.REJECTED)
_COUNT = func.count()


def _sum_bytes(size_bytes: Any, *which: ColumnElement[bool]) -> Any:
    return select(func.coalesce(func.sum(size_bytes), 0)).where(*which).scalar_subquery()


# How much of each quota an owner uses.
_USED: Mapping[Quota, Select[Any]] = {
    # An owner has not asked for experiments that wait for an idle worker.
    Quota.QUEUED_JOBS: select(_COUNT).where(
        JobRow.owner == _OWNER, JobRow.status == JobStatus.QUEUED, JobRow.kind != JobKind.IDLE_EXPERIMENT
    ),
    Quota.RUNNING_JOBS: select(_COUNT).where(JobRow.owner == _OWNER, *_RUNS_IN_SLOT),
    Quota.SLOT_SECONDS: select(func.coalesce(func.sum(UsageRow.slot_s), 0.0)).where(
        UsageRow.owner == _OWNER, UsageRow.hour >= bindparam("day", type_=UtcTime)
    ),
    Quota.DATASETS: select(_COUNT).where(*_DATASETS),
    Quota.STUDIES: select(_COUNT).where(StudyRow.owner == _OWNER),
    Quota.SPEC_BYTES: select(
        _sum_bytes(JobRow.spec_bytes, JobRow.owner == _OWNER, JobRow.spec_bytes.is_not(None))
        + _sum_bytes(StudyRow.spec_bytes, StudyRow.owner == _OWNER, StudyRow.spec_bytes.is_not(None))
    ),
    Quota.STORED_BYTES: select(_sum_bytes(_DATASET_BYTES, *_WITH_FILES) + _sum_bytes(ModelRow.size_bytes, *_MODELS)),
    Quota.KEYS: select(_COUNT).where(KeyRow.owner == _OWNER, ~keys.IS_OVER),
    Quota.WEBHOOKS: select(_COUNT).where(WebhookRow.owner == _OWNER),
    Quota.UPLOADS: select(_COUNT).where(UploadPlaceRow.owner == _OWNER, UploadPlaceRow.expires_at > db_now()),
    Quota.STREAMS: select(_COUNT).where(StreamPlaceRow.owner == _OWNER, StreamPlaceRow.expires_at > db_now()),
}


@dataclass(frozen=True)
class _Standing:
    """An owner's own bounds, and its usage of some quotas."""

    is_known: bool
    own: Mapping[str, Any] | None
    suspended_at: datetime | None
    used: Mapping[Quota, float]


def get_bounds(session: Session) -> Bounds:
    """Get the settings' bounds. An owner's own bounds take precedence."""
    bounds: Bounds = session.info[BOUNDS]
    return bounds


def require_room(session: Session, owner: str, *quotas: Quota, asked: int = 1, spec_bytes: int = 0) -> None:
    """Check that the owner may take more. Refuses everything but `OF_READING` if the owner is suspended.

    Near a bound, other transactions of the same owner wait here until this one ends.

    Args:
        quotas: the quotas that the caller is about to take `asked` more of.
        spec_bytes: the size of specs that will be stored, from `count_bytes`.
    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    more = dict.fromkeys(quotas, asked) | ({Quota.SPEC_BYTES: spec_bytes} if spec_bytes else {})
    bounds, found = get_bounds(session), _look_up(session, owner, tuple(more))
    most_of = {quota: get_bound(quota, bounds, found.own) for quota in more}
    if any(most is not None and found.used[quota] + more[quota] + NEAR > most for quota, most in most_of.items()):
        statements.lock(session, "quotas", owner)
        found = _look_up(session, owner, tuple(more))
    if found.is_known:
        accounts.note_owner_exists(session, owner)
    only_reads = bool(more) and OF_READING.issuperset(more)
    if found.suspended_at is not None and not only_reads:
        raise OwnerSuspended(owner)
    for quota, used in found.used.items():
        most = get_bound(quota, bounds, found.own)
        if most is None:
            continue
        # The slot-seconds of a job are not known in advance.
        if used + more[quota] > most if quota in EXACT else used >= most:
            left_today_s = max(1, ceil((_get_today() + DAY - datetime.now(UTC)).total_seconds()))
            retry_after_s = left_today_s if quota is Quota.SLOT_SECONDS else None
            raise QuotaExceeded(quota.value, quota.meaning, used, most, asked=more[quota], retry_after_s=retry_after_s)


def require_bytes(session: Session, owner: str, dataset_id: str, size_bytes: int) -> None:
    """Check that a dataset's content fits into its owner's remaining bytes.

    Raises:
        QuotaExceeded.
    """
    quota = Quota.STORED_BYTES
    own = session.scalar(select(OwnerRow.quotas).where(OwnerRow.owner == owner))
    most = get_bound(quota, get_bounds(session), own)
    if most is None:
        return
    statements.lock(session, "quotas", owner)
    others = _sum_bytes(_DATASET_BYTES, *_WITH_FILES, DatasetRow.id != dataset_id)
    of_all = select(others + _sum_bytes(ModelRow.size_bytes, *_MODELS))
    used = session.scalar(of_all, {"owner": owner}) or 0
    if used + size_bytes > most:
        raise QuotaExceeded(quota.value, quota.meaning, used, most, asked=size_bytes)


def _look_up(session: Session, owner: str, quotas: tuple[Quota, ...]) -> _Standing:
    row = session.execute(_build_statement(quotas), {"owner": owner, "day": _get_today()}).one()
    return _Standing(row[0] is not None, row[1], row[2], dict(zip(quotas, row[3:], strict=True)))


@lru_cache
def _build_statement(quotas: tuple[Quota, ...]) -> Select[Any]:
    """Build a single statement for all quotas, because it precedes every submission."""
    of_owner = [
        select(column).where(OwnerRow.owner == _OWNER).scalar_subquery()
        for column in (OwnerRow.owner, OwnerRow.quotas, OwnerRow.suspended_at)
    ]
    return select(*of_owner, *(_USED[quota].scalar_subquery() for quota in quotas))


def get_used(session: Session, owner: str, quota: Quota) -> float:
    """Get how much of a quota the owner uses."""
    return session.scalar(_USED[quota], {"owner": owner, "day": _get_today()}) or 0


def has_free_slot(session: Session, owner: str, own: Mapping[str, Any] | None) -> bool:
    """Return whether the owner may run another job. own: the owner's own bounds."""
    most = get_bound(Quota.RUNNING_JOBS, get_bounds(session), own)
    return most is None or get_used(session, owner, Quota.RUNNING_JOBS) < most


def may_begin(session: Session, owner: str, own: Mapping[str, Any] | None) -> bool:
    """Whether another job of the owner may start. Until this transaction ends, no one else can check the same owner.

    An owner that has used up its slot-seconds of the day is held until the next day.
    """
    bounds = get_bounds(session)
    if get_bound(Quota.RUNNING_JOBS, bounds, own) is not None:
        statements.lock(session, "running", owner)
        if not has_free_slot(session, owner, own):
            return False
    of_a_day = get_bound(Quota.SLOT_SECONDS, bounds, own)
    if of_a_day is None or get_used(session, owner, Quota.SLOT_SECONDS) < of_a_day:
        return True
    accounts.note_hold(session, owner, _get_today() + DAY)
    return False


def holds_back(session: Session, owner: str) -> bool:
    """Return whether no other job of the owner may start: it is suspended, or has used up its slots or slot-seconds."""
    row = session.get(OwnerRow, owner)
    if row is not None and row.suspended_at is not None:
        return True
    own = None if row is None else row.quotas
    of_a_day = get_bound(Quota.SLOT_SECONDS, get_bounds(session), own)
    is_day_used = of_a_day is not None and get_used(session, owner, Quota.SLOT_SECONDS) >= of_a_day
    return is_day_used or not has_free_slot(session, owner, own)


def release_holds(session: Session) -> None:
    """Release owners that were held under earlier, stricter settings."""
    held = session.scalars(select(OwnerRow).where(OwnerRow.held_until > db_now()).with_for_update(skip_locked=True))
    for row in held:
        of_a_day = get_bound(Quota.SLOT_SECONDS, get_bounds(session), row.quotas)
        if of_a_day is None or get_used(session, row.owner, Quota.SLOT_SECONDS) < of_a_day:
            row.held_until = None


def _get_today() -> datetime:
    """Get the start of the day in UTC. This machine's clock is accurate enough."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
