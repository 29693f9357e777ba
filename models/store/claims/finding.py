"""The statements by which a worker finds its next job: whose turn it is, and which of the owner's jobs comes first.

They are built once for all that a worker can run at a time, since each claim executes them.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    String,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from heldout.kinds import JobKind
from heldout.lifecycle import JobStatus
from models.database import db_now
from models.store.jobs import in_claim_order
from models.tables import JobRow
from models.tables_owners import OwnerRow

IS_READY = (JobRow.status == JobStatus.QUEUED, or_(JobRow.available_at.is_(None), JobRow.available_at <= db_now()))
# As the indexes have it.
_needed_bytes = func.coalesce(JobRow.memory_bytes, literal_column("0"))


@dataclass(frozen=True)
class Finding:
    """What to ask for the jobs of some kinds and devices.

    Parameters: `spec_version`, `gpus`, with memory that counts `free_bytes`; of `next_owner` also `passed_over`, of
    `first_job` also `owner`.
    """

    least_bytes: Select[Any]  # of memory that one of them needs, whoever has it; null where none waits
    next_owner: Select[Any]
    first_job: Select[Any]


@lru_cache(maxsize=64)
def finding_of(kinds: tuple[JobKind, ...], devices: tuple[str, ...], *, counts_memory: bool) -> Finding:
    """The statements for jobs of these kinds and values of `device`."""
    # Both are part of the statements: a plan for any values would read all jobs that wait to find none of them.
    of_kind: BindParameter[JobKind] = bindparam("kinds", list(kinds), expanding=True, literal_execute=True)
    on_device: BindParameter[str] = bindparam("devices", list(devices), expanding=True, literal_execute=True)
    is_for = (JobRow.kind.in_(of_kind), JobRow.device.in_(on_device))
    can_run: tuple[ColumnElement[bool], ...] = (
        *is_for,
        JobRow.gpus <= bindparam("gpus", type_=Integer),
        JobRow.spec_version <= bindparam("spec_version", type_=Integer),
        *([_needed_bytes <= bindparam("free_bytes", type_=BigInteger)] if counts_memory else []),
    )
    of_owner = JobRow.owner == bindparam("owner", type_=String)
    first_job = in_claim_order(select(JobRow).where(of_owner, *IS_READY, *can_run)).limit(1)
    return Finding(
        least_bytes=_least_bytes(kinds, devices),
        next_owner=_next_owner(can_run),
        first_job=first_job.with_for_update(skip_locked=True),
    )


def _least_bytes(kinds: tuple[JobKind, ...], devices: tuple[str, ...]) -> Select[Any]:
    """One look into an index for each kind and device, however many jobs wait."""
    firsts = [
        select(_needed_bytes.label("needed"))
        .where(JobRow.status == JobStatus.QUEUED, JobRow.kind == kind, JobRow.device == device)
        .order_by(_needed_bytes)
        .limit(1)
        .subquery()
        for kind in kinds
        for device in devices
    ]
    of_all = union_all(*(select(first.c.needed) for first in firsts)).subquery()
    return select(func.min(of_all.c.needed))


def _next_owner(can_run: tuple[ColumnElement[bool], ...]) -> Select[Any]:
    """The owner whose turn it is among those of whom a job can be claimed, its standing, and the database's time."""
    # A scalar subquery rather than EXISTS, which PostgreSQL would turn into a join over all jobs that wait.
    of_owner = select(JobRow.id).where(JobRow.owner == OwnerRow.owner, *IS_READY, *can_run)
    first = of_owner.limit(1).correlate(OwnerRow).scalar_subquery()
    may_begin_now = or_(OwnerRow.held_until.is_(None), OwnerRow.held_until <= db_now())
    is_passed_over = OwnerRow.owner.in_(bindparam("passed_over", expanding=True))
    return (
        select(OwnerRow.owner, OwnerRow.quotas, OwnerRow.weight, OwnerRow.used_slot_s, OwnerRow.used_at_s, db_now())
        .where(OwnerRow.suspended_at.is_(None), may_begin_now, ~is_passed_over, first.is_not(None))
        .order_by(OwnerRow.turn, OwnerRow.owner)
        .limit(1)
    )
