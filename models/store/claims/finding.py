"""Finds a worker's next job: the owner whose turn it is, and the first of that owner's jobs.

The statements are built once for each combination of kinds and devices, since each claim executes them.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    bindparam,
    column,
    func,
    literal_column,
    or_,
    select,
    text,
    type_coerce,
    values,
)
from sqlalchemy.orm import Session, load_only

from analysis.scheduling.fair_share import OwnerStanding
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.resources import ModelStatus, RelationsStatus, SearchStatus
from heldout.work.kinds import KINDS_IN_SLOTS, SPEC_VERSION, JobKind
from models.database import db_now
from models.store.jobs import sort_as_claimed
from models.tables import DatasetRow, JobRow, ModelRow, OwnerRow

# The status is a parameter, so that PostgreSQL plans each execution for the actual free memory. A generic plan would
# read all jobs of owners without a fitting job.
IS_DUE = or_(JobRow.available_at.is_(None), JobRow.available_at <= db_now())
IS_READY = (JobRow.status == JobStatus.QUEUED, IS_DUE)
# The same expression as in the indexes.
_needed_bytes = func.coalesce(JobRow.memory_bytes, literal_column("0"))
# A search for wrong labels uses the features of its dataset, so it does not start while they are still computed.
_HAS_FEATURES_IF_COMPUTED = or_(
    JobRow.kind != literal_column(f"'{JobKind.SUSPECT}'"),
    ~select(DatasetRow.id)
    .where(DatasetRow.id == JobRow.dataset_id, DatasetRow.features_status == literal_column(f"'{SearchStatus.QUEUED}'"))
    .correlate(JobRow)
    .exists(),
)
# Features need the pretrained network, so they wait while it is converted. One that is to be fetched has no file yet.
_HAS_CONVERTED_NETWORK = or_(
    JobRow.kind != literal_column(f"'{JobKind.FEATURES}'"),
    ~select(ModelRow.id)
    .where(
        ModelRow.owner.is_(None),
        ModelRow.status == literal_column(f"'{ModelStatus.CHECKING}'"),
        ModelRow.sha256 != literal_column("''"),
    )
    .exists(),
)

_OF_OWNER = (OwnerRow.owner, OwnerRow.quotas, OwnerRow.weight, OwnerRow.used_slot_s, OwnerRow.used_at_s, db_now())
_CLAIMED_COLUMNS = (
    JobRow.id,
    JobRow.kind,
    JobRow.owner,
    JobRow.name,
    JobRow.spec,
    JobRow.dataset_id,
    JobRow.device,
    JobRow.gpus,
    JobRow.memory_bytes,
    JobRow.study_id,
    JobRow.attempt,
    JobRow.failures,
    JobRow.runtime_s,
    JobRow.epochs,
    JobRow.continues,
    JobRow.initial,
    JobRow.backbone,
    JobRow.queued_at,
)


@dataclass(frozen=True)
class ClaimStatements:
    """Queries for jobs of some kinds and devices.

    Parameters: `spec_version`, `gpus`, and `free_bytes` if memory counts. `owner_after` also has `passed_over`, and
    `first_job` has `owner`.
    """

    least_bytes: Select[Any]  # the least memory that any waiting job needs; null if none waits
    first_owner: Select[Any]
    owner_after: Select[Any]  # `first_owner` without the owners in `passed_over`
    first_job: Select[Any]  # with its dataset's digest and the status of its relations
    first_job_to_claim: Select[Any]  # `first_job`, locked
    next_to_claim: Select[Any]  # the first owner's first job, locked, followed by the columns of `first_owner`


@lru_cache(maxsize=64)
def build_statements(kinds: tuple[JobKind, ...], devices: tuple[str, ...], *, counts_memory: bool) -> ClaimStatements:
    """Build the statements for jobs of these kinds and devices."""
    # Both are literals, because a generic plan would read all waiting jobs to find none of these.
    is_for = (JobRow.kind.in_(_make_literals(kinds)), JobRow.device.in_(_make_literals(devices)))
    can_run: tuple[ColumnElement[bool], ...] = (
        *is_for,
        *([_HAS_FEATURES_IF_COMPUTED] if JobKind.SUSPECT in kinds else []),
        *([_HAS_CONVERTED_NETWORK] if JobKind.FEATURES in kinds else []),
        JobRow.gpus <= bindparam("gpus", type_=Integer),
        JobRow.spec_version <= bindparam("spec_version", type_=Integer),
        *([_needed_bytes <= bindparam("free_bytes", type_=BigInteger)] if counts_memory else []),
    )
    of_owner = JobRow.owner == bindparam("owner", type_=String)
    first_job = _select_first_job(can_run).where(of_owner)
    first_owner = _select_first_owner(can_run)
    # A scalar subquery makes both databases read the owner's jobs in the order of their index.
    is_of_first_owner = JobRow.owner == first_owner.with_only_columns(OwnerRow.owner).scalar_subquery()
    next_to_claim = (
        _select_first_job(can_run)
        .add_columns(*_OF_OWNER)
        .join(OwnerRow, OwnerRow.owner == JobRow.owner)
        .where(is_of_first_owner)
    )
    is_passed_over = OwnerRow.owner.in_(bindparam("passed_over", expanding=True))
    return ClaimStatements(
        least_bytes=_select_least_bytes(kinds, devices),
        first_owner=first_owner,
        owner_after=first_owner.where(~is_passed_over),
        first_job=first_job,
        first_job_to_claim=_lock_rows(first_job),
        next_to_claim=_lock_rows(next_to_claim),
    )


def _lock_rows(query: Select[Any]) -> Select[Any]:
    """Lock the job's row, skipping rows that others have locked."""
    return query.with_for_update(skip_locked=True, of=JobRow)


def _select_first_job(can_run: tuple[ColumnElement[bool], ...]) -> Select[Any]:
    """Select the first claimable job. The caller adds a condition on the owner."""
    # Only the columns that a claim needs, because reading all of them takes several times as long.
    return sort_as_claimed(
        select(JobRow, DatasetRow.sha256, DatasetRow.relations_status)
        .options(load_only(*_CLAIMED_COLUMNS))
        .outerjoin(DatasetRow, DatasetRow.id == JobRow.dataset_id)
        .where(*IS_READY, *can_run)
    ).limit(1)


def _make_literals(words: Iterable[str]) -> list[ColumnElement[Any]]:
    """Make words part of the statement's text, because SQLAlchemy would expand parameters at each execution."""
    return [literal_column(f"'{word}'") for word in words]


def _select_least_bytes(kinds: tuple[JobKind, ...], devices: tuple[str, ...]) -> Select[Any]:
    """Select the least needed memory, with one index look-up per kind and device, however many jobs wait."""
    columns = column("kind", String), column("device", String)
    # One correlated query instead of one query each, because planning them takes longer than executing them.
    who = values(*columns, name="who").data([(kind.value, device) for kind in kinds for device in devices]).cte("asked")
    is_asked_for = (JobRow.kind == type_coerce(who.c.kind, JobRow.kind.type), JobRow.device == who.c.device)
    first = (
        select(_needed_bytes)
        .where(text("jobs.status = 'queued'"), *is_asked_for)
        .order_by(_needed_bytes)
        .limit(1)
        .correlate(who)
        .scalar_subquery()
    )
    return select(func.min(first)).select_from(who)


def _select_first_owner(can_run: tuple[ColumnElement[bool], ...]) -> Select[Any]:
    """Select the owner whose turn it is among those with a claimable job, its standing, and the database's time."""
    # A scalar subquery, because PostgreSQL would turn EXISTS into a join over all waiting jobs.
    of_owner = select(JobRow.id).where(JobRow.owner == OwnerRow.owner, *IS_READY, *can_run)
    first = of_owner.limit(1).correlate(OwnerRow).scalar_subquery()
    may_begin_now = or_(OwnerRow.held_until.is_(None), OwnerRow.held_until <= db_now())
    return (
        select(*_OF_OWNER)
        .where(OwnerRow.suspended_at.is_(None), may_begin_now, first.is_not(None))
        .order_by(OwnerRow.turn, OwnerRow.owner)
        .limit(1)
    )


@dataclass(frozen=True)
class Capacity:
    """What a worker can run now. Jobs that need a newer release are left to that release's workers.

    devices: values of a job's `device` that the worker can serve. memory_bytes: free memory. None: memory is ignored.
    passed_over: owners whose jobs are left for later.
    """

    devices: Collection[str]
    gpus: int = 1
    kinds: Collection[JobKind] = KINDS_IN_SLOTS
    memory_bytes: int | None = None
    passed_over: Collection[str] = ()


@dataclass(frozen=True)
class NextOwner:
    """An owner and its standing at the time `at`, by the database's clock."""

    name: str
    quotas: Mapping[str, Any] | None
    standing: OwnerStanding
    at: datetime


@dataclass(frozen=True)
class FoundJob:
    """The row of a claimable job, and what a worker needs to know about its dataset."""

    row: JobRow
    dataset_sha256: str | None
    relations_status: RelationsStatus | None


class Search:
    """Searches for jobs that a worker can run now, in one transaction."""

    def __init__(self, session: Session, free: Capacity) -> None:
        self._session = session
        counts_memory = free.memory_bytes is not None
        self._finding = build_statements(tuple(free.kinds), tuple(free.devices), counts_memory=counts_memory)
        self._values = {"gpus": free.gpus, "spec_version": SPEC_VERSION}
        if free.memory_bytes is not None:
            self._values["free_bytes"] = free.memory_bytes

    def may_find(self) -> bool:
        """Return whether a job of these kinds and devices is waiting that fits into the free memory."""
        least_bytes = self._session.scalar(self._finding.least_bytes)
        return least_bytes is not None and least_bytes <= self._values.get("free_bytes", least_bytes)

    def find_next_to_claim(self, passed_over: Collection[str]) -> tuple[NextOwner, FoundJob | None] | None:
        """Find the owner whose turn it is, and lock its first job, which may be None as in `find_first_job`."""
        if not passed_over:
            # Usually this one statement suffices. It finds nothing if others hold the owner's jobs.
            found = self._session.execute(self._finding.next_to_claim, self._values).one_or_none()
            if found is not None:
                return _make_next_owner(*found[3:]), FoundJob(*found[:3])
        owner = self.find_next_owner(passed_over)
        return None if owner is None else (owner, self.find_first_job(owner))

    def find_next_owner(self, passed_over: Collection[str]) -> NextOwner | None:
        """Find the owner whose turn it is among those with a claimable job."""
        if passed_over:
            values = {**self._values, "passed_over": list(passed_over)}
            row = self._session.execute(self._finding.owner_after, values).one_or_none()
        else:
            row = self._session.execute(self._finding.first_owner, self._values).one_or_none()
        if row is None:
            return None
        return _make_next_owner(*row)

    def find_first_job(self, owner: NextOwner, *, lock: bool = True) -> FoundJob | None:
        """Find and lock the owner's first job. None if others have just claimed its waiting jobs."""
        query = self._finding.first_job_to_claim if lock else self._finding.first_job
        found = self._session.execute(query, {**self._values, "owner": owner.name}).one_or_none()
        return None if found is None else FoundJob(*found)


def _make_next_owner(
    name: str, quotas: Mapping[str, Any] | None, weight: float, used_slot_s: float, used_at_s: float, at: datetime
) -> NextOwner:
    return NextOwner(name, quotas, OwnerStanding(weight, used_slot_s, used_at_s), at)
