"""What owners have taken, counted in the transaction that takes more.

A lock of its own for each owner makes the count exact until the commit, near a bound. Rows of owners are not locked for
it: these come last in a transaction (models/store/accounts.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, String, bindparam, func, select
from sqlalchemy.orm import Session

from heldout.access.quotas import COUNTED, Bounds, Quota, get_bound
from heldout.errors import OwnerSuspended, QuotaExceeded
from heldout.lifecycle.dataset import DatasetStatus
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.model import ModelStatus
from heldout.work.kinds import KINDS_IN_SLOTS
from models.database import BOUNDS, UtcTime, db_now
from models.store import accounts, keys, statements
from models.tables import DatasetRow, JobRow, KeyRow, StudyRow, WebhookRow
from models.tables_models import ModelRow
from models.tables_owners import OwnerRow, StreamPlaceRow, UploadPlaceRow, UsageRow

# What each takes of.
OF_NEW_JOBS = (Quota.QUEUED_JOBS, Quota.SLOT_SECONDS)
# How many jobs a study begins with is not known before its arms are examined.
OF_NEW_STUDIES = (Quota.STUDIES, *OF_NEW_JOBS)
OF_NEW_DATASETS = (Quota.DATASETS, Quota.STORED_BYTES)
# A model takes its file's size, which is known once it has come.
OF_UPLOADS = (Quota.STORED_BYTES, *OF_NEW_JOBS)
# What an owner that is suspended may still take more of: it goes on reading.
OF_READING = frozenset({Quota.STREAMS})
# Those whose amounts a request knows beforehand.
EXACT = frozenset(Quota) - {Quota.SLOT_SECONDS}
DAY = timedelta(days=1)
# Whoever is so near to a bound waits for others of the same owner, so that the count is exact. Farther away nobody
# does: so many transactions of one owner are never open at once.
NEAR = 500

_OWNER: BindParameter[str] = bindparam("owner", type_=String)
_RUNS_IN_SLOT = (JobRow.status == JobStatus.RUNNING, JobRow.kind.in_(KINDS_IN_SLOTS))
_DATASETS = (DatasetRow.owner == _OWNER, DatasetRow.deleted_at.is_(None), DatasetRow.status != DatasetStatus.REJECTED)
# The same content in two versions is stored once, and counts twice: either may be deleted.
_DATASET_BYTES = func.coalesce(DatasetRow.size_bytes, 0) + func.coalesce(DatasetRow.beside_bytes, 0)
_MODELS = (ModelRow.owner == _OWNER, ModelRow.status != ModelStatus.REJECTED)
_COUNT = func.count()


def _sum_bytes(size_bytes: Any, *which: ColumnElement[bool]) -> Any:
    return select(func.coalesce(func.sum(size_bytes), 0)).where(*which).scalar_subquery()


# How much of each an owner has.
_USED: Mapping[Quota, Select[Any]] = {
    Quota.QUEUED_JOBS: select(_COUNT).where(JobRow.owner == _OWNER, JobRow.status == JobStatus.QUEUED),
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
    Quota.STORED_BYTES: select(_sum_bytes(_DATASET_BYTES, *_DATASETS) + _sum_bytes(ModelRow.size_bytes, *_MODELS)),
    Quota.KEYS: select(_COUNT).where(KeyRow.owner == _OWNER, ~keys.IS_OVER),
    Quota.WEBHOOKS: select(_COUNT).where(WebhookRow.owner == _OWNER),
    Quota.UPLOADS: select(_COUNT).where(UploadPlaceRow.owner == _OWNER, UploadPlaceRow.expires_at > db_now()),
    Quota.STREAMS: select(_COUNT).where(StreamPlaceRow.owner == _OWNER, StreamPlaceRow.expires_at > db_now()),
}


@dataclass(frozen=True)
class _Standing:
    """An owner's own bounds, and how much it has of some quotas."""

    is_known: bool
    own: Mapping[str, Any] | None
    suspended_at: datetime | None
    used: Mapping[Quota, float]


def get_bounds(session: Session) -> Bounds:
    """What the settings let an owner take; the owner's own bounds come first."""
    bounds: Bounds = session.info[BOUNDS]
    return bounds


def require_room(session: Session, owner: str, *quotas: Quota, asked: int = 1, spec_bytes: int = 0) -> None:
    """Refuse what would be too much, or anything but `OF_READING` of an owner that is suspended.

    Near a bound no other transaction passes here for the same owner until this one ends.

    Args:
        quotas: that the caller is about to take `asked` more of.
        spec_bytes: of specs that are stored too, as `count_bytes` gives them.
    Raises:
        QuotaExceeded, OwnerSuspended.
    """
    more = dict.fromkeys(quotas, asked) | ({Quota.SPEC_BYTES: spec_bytes} if spec_bytes else {})
    bounds, found = get_bounds(session), _look_up(session, owner, tuple(more))
    if any(_is_near(used + more[quota], get_bound(quota, bounds, found.own)) for quota, used in found.used.items()):
        statements.lock(session, "quotas", owner)
        found = _look_up(session, owner, tuple(more))
    if found.is_known:
        accounts.note_known(session, owner)
    only_reads = bool(more) and OF_READING.issuperset(more)
    if found.suspended_at is not None and not only_reads:
        raise OwnerSuspended(owner)
    for quota, used in found.used.items():
        most = get_bound(quota, bounds, found.own)
        if most is None:
            continue
        # Nobody knows beforehand how many slot-seconds a job takes.
        if used + more[quota] > most if quota in EXACT else used >= most:
            retry_after_s = _count_seconds_left_today() if quota is Quota.SLOT_SECONDS else None
            raise QuotaExceeded(quota.value, COUNTED[quota], used, most, asked=more[quota], retry_after_s=retry_after_s)


def require_bytes(session: Session, owner: str, dataset_id: str, size_bytes: int) -> None:
    """Refuse content of a dataset that would take more bytes than its owner has left.

    Raises:
        QuotaExceeded.
    """
    most = get_allowed(session, owner, Quota.STORED_BYTES)
    if most is None:
        return
    statements.lock(session, "quotas", owner)
    others = _sum_bytes(_DATASET_BYTES, *_DATASETS, DatasetRow.id != dataset_id)
    of_all = select(others + _sum_bytes(ModelRow.size_bytes, *_MODELS))
    used = session.scalar(of_all, {"owner": owner}) or 0
    if used + size_bytes > most:
        quota = Quota.STORED_BYTES
        raise QuotaExceeded(quota.value, COUNTED[quota], used, most, asked=size_bytes)


def _is_near(used: float, most: int | None) -> bool:
    return most is not None and used + NEAR > most


def _look_up(session: Session, owner: str, quotas: tuple[Quota, ...]) -> _Standing:
    row = session.execute(_build_statement(quotas), {"owner": owner, "day": _get_today()}).one()
    return _Standing(row[0] is not None, row[1], row[2], dict(zip(quotas, row[3:], strict=True)))


@lru_cache
def _build_statement(quotas: tuple[Quota, ...]) -> Select[Any]:
    """One statement for all, since it precedes every submission."""
    of_owner = [
        select(column).where(OwnerRow.owner == _OWNER).scalar_subquery()
        for column in (OwnerRow.owner, OwnerRow.quotas, OwnerRow.suspended_at)
    ]
    return select(*of_owner, *(_USED[quota].scalar_subquery() for quota in quotas))


def get_allowed(session: Session, owner: str, quota: Quota) -> int | None:
    """How much of it the owner may have; None for any amount."""
    own = session.scalar(select(OwnerRow.quotas).where(OwnerRow.owner == owner))
    return get_bound(quota, get_bounds(session), own)


def get_used(session: Session, owner: str, quota: Quota) -> float:
    """How much of it the owner has."""
    return session.scalar(_USED[quota], {"owner": owner, "day": _get_today()}) or 0


def has_free_slot(session: Session, owner: str, own: Mapping[str, Any] | None) -> bool:
    """Whether the owner has fewer running jobs than it may have. own: its own bounds."""
    most = get_bound(Quota.RUNNING_JOBS, get_bounds(session), own)
    return most is None or get_used(session, owner, Quota.RUNNING_JOBS) < most


def may_begin(session: Session, owner: str, own: Mapping[str, Any] | None) -> bool:
    """Whether one more job of the owner may begin; until this transaction ends, nobody else asks for the same owner.

    An owner whose slot-seconds of the day are used up is held until the next one.
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


def release_holds(session: Session) -> None:
    """Let owners begin jobs again who were held under settings that allowed less."""
    held = session.scalars(select(OwnerRow).where(OwnerRow.held_until > db_now()).with_for_update(skip_locked=True))
    for row in held:
        of_a_day = get_bound(Quota.SLOT_SECONDS, get_bounds(session), row.quotas)
        if of_a_day is None or get_used(session, row.owner, Quota.SLOT_SECONDS) < of_a_day:
            row.held_until = None


def _get_today() -> datetime:
    """The beginning of this day in UTC, by this machine's clock: a second more or less of a day does no harm."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _count_seconds_left_today() -> int:
    return max(1, ceil((_get_today() + DAY - datetime.now(UTC)).total_seconds()))
