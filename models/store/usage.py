"""What owners have used, hour by hour, and their quotas as they stand."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session

from heldout.access.quotas import Quota, bound_of
from heldout.views.usage import Bucket, Group
from heldout.work.kinds import JobKind
from models.store.quotas import bounds_of, used_of
from models.tables_owners import OwnerRow, UsageRow
from models.usage import QuotaState, Used


def buckets(
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
    for hour, of_key, of_kind, jobs, slot_s in hours:
        start = _start(hour, bucket)
        used = found.setdefault((start, of_key, of_kind), Used(start, of_key or None, of_kind, 0, 0.0))
        used.jobs += jobs
        used.slot_s += slot_s
    return sorted(found.values(), key=lambda one: (one.start, one.key_id or "", one.kind or ""))


def quotas(session: Session, owner: str) -> Sequence[QuotaState]:
    """All quotas of an owner."""
    own = session.scalar(select(OwnerRow.quotas).where(OwnerRow.owner == owner))
    bounds = bounds_of(session)
    return [QuotaState(quota, used_of(session, owner, quota), bound_of(quota, bounds, own)) for quota in Quota]


def _start(moment: datetime, bucket: Bucket) -> datetime:
    """The beginning of the hour or day of that moment."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return hour if bucket == "hour" else hour.replace(hour=0)
