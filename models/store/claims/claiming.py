"""How a worker gets a job: the best that it can run of the owner whose turn it is (heldout/fair_share.py)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, func, insert, or_, select, update
from sqlalchemy.orm import Session

from heldout.dataset_lifecycle import RelationsStatus
from heldout.errors import SpecUnreadable
from heldout.fair_share import Standing
from heldout.kinds import KINDS_IN_SLOTS, JobKind, WorkSpec
from heldout.lifecycle import FailureCode, JobEvent, JobStatus, next_status
from heldout.quotas import NO_BOUNDS, Bounds
from heldout.spec import Device
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.database import db_now
from models.specs import spec_of
from models.store import accounts, artifacts, events
from models.store.claims.checkpoint import Checkpoint, checkpoints_of
from models.store.claims.lease import HeldAttempt
from models.store.claims.settle import fail
from models.store.jobs import in_claim_order
from models.store.quotas import has_free_slot, may_begin
from models.store.transitions import seconds_since
from models.tables import AttemptRow, DatasetRow, JobRow
from models.tables_owners import OwnerRow


@dataclass(frozen=True)
class InitialWeights:
    """Where the model file lies whose weights a job starts from, and which layers take them."""

    key: str
    layers: tuple[str, ...]
    is_uploaded: bool = False  # a stranger's file, which only a bounded process may read


@dataclass(frozen=True)
class Claimed:
    """A job that a worker has just claimed, with all that it needs to begin."""

    held: HeldAttempt
    name: str
    spec: WorkSpec
    device: Device
    gpus: int  # that it needs at least
    dataset_id: str
    dataset_sha256: str
    epochs: int
    failures: int
    runtime_s: float  # seconds that earlier attempts ran
    waited_s: float  # since it was queued
    checkpoints: tuple[Checkpoint, ...]  # to continue from, newest first
    relations_status: RelationsStatus | None = None  # of the dataset
    initial: InitialWeights | None = None
    study_id: str | None = None  # that compares the job with others
    kind: JobKind = JobKind.TRAIN
    memory_bytes: int | None = None  # that it is expected to need; None where nobody knows


IS_READY = (JobRow.status == JobStatus.QUEUED, or_(JobRow.available_at.is_(None), JobRow.available_at <= db_now()))


def claimable(
    session: Session,
    devices: Collection[str],
    gpus: int = 1,
    kinds: Collection[JobKind] = KINDS_IN_SLOTS,
    bounds: Bounds = NO_BOUNDS,
    *,
    memory_bytes: int | None = None,
) -> bool:
    """Whether `claim` would find a job: cheap, takes no lock."""
    can_run = _can_run(kinds, devices, gpus, memory_bytes)
    # While nothing waits, nobody is looked through.
    if not session.scalar(select(select(JobRow.id).where(*IS_READY, *can_run).exists())):
        return False
    passed_over: set[str] = set()
    while (owner := _next_owner(session, can_run, passed_over)) is not None:
        if has_free_slot(session, owner.name, owner.quotas, bounds):
            return True
        passed_over.add(owner.name)
    return False


def claim(
    session: Session,
    worker: str,
    devices: Collection[str],
    lease_s: float,
    gpus: int = 1,
    kinds: Collection[JobKind] = KINDS_IN_SLOTS,
    bounds: Bounds = NO_BOUNDS,
    *,
    memory_bytes: int | None = None,
) -> Claimed | None:
    """Take a job of the owner whose turn it is: the highest priority, then the oldest. None if there is none.

    A job for more GPUs or memory than are free now is left for later, or for another worker; those behind it come
    first then.
    A job whose spec this release does not understand fails, and the next one is taken.

    Args:
        devices: values of a job's `device` that the worker can serve now.
        gpus: how many GPUs the worker has free.
        memory_bytes: how much memory it has free; None: it does not count.
        kinds: those that it takes now. What only a newer release knows is left to that release's workers.
        bounds: what an owner may take where nothing else was set for it.
    """
    can_run = _can_run(kinds, devices, gpus, memory_bytes)
    passed_over: set[str] = set()
    while (owner := _next_owner(session, can_run, passed_over)) is not None:
        job = None
        if may_begin(session, owner.name, owner.quotas, bounds):
            mine = _jobs_of(owner.name, can_run).limit(1).with_for_update(skip_locked=True)
            job = session.scalars(mine).one_or_none()
        if job is None:
            # It has as many running jobs as it may have, or others have claimed those that wait a moment ago.
            passed_over.add(owner.name)
            continue
        held = _take(session, job, worker, lease_s)
        if held is None:
            return None
        accounts.charge_claim(session, job, seen=owner.standing, at=owner.at)
        try:
            spec = spec_of(job)
        except SpecUnreadable as error:
            session.refresh(job)  # the claim changed its row
            fail(session, held, code=FailureCode.SPEC_UNREADABLE, detail=error.detail)
            continue
        return _claimed(session, job, held, spec)
    return None


@dataclass(frozen=True)
class _NextOwner:
    """An owner as it stands at the moment `at`, by the database's clock."""

    name: str
    quotas: Mapping[str, Any] | None
    standing: Standing
    at: datetime


def _next_owner(
    session: Session, can_run: Sequence[ColumnElement[bool]], passed_over: Collection[str]
) -> _NextOwner | None:
    """The owner whose turn it is among those of whom a job can be claimed."""
    # A scalar subquery rather than EXISTS, which PostgreSQL would turn into a join over all jobs that wait.
    of_owner = select(JobRow.id).where(JobRow.owner == OwnerRow.owner, *IS_READY, *can_run)
    first = of_owner.limit(1).correlate(OwnerRow).scalar_subquery()
    may_begin_now = or_(OwnerRow.held_until.is_(None), OwnerRow.held_until <= db_now())
    row = session.execute(
        select(OwnerRow.owner, OwnerRow.quotas, OwnerRow.weight, OwnerRow.used_slot_s, OwnerRow.used_at_s, db_now())
        .where(OwnerRow.suspended_at.is_(None), may_begin_now, OwnerRow.owner.not_in(passed_over), first.is_not(None))
        .order_by(OwnerRow.turn, OwnerRow.owner)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    name, quotas, weight, used_slot_s, used_at_s, at = row
    return _NextOwner(name, quotas, Standing(weight, used_slot_s, used_at_s), at)


def _jobs_of(owner: str, can_run: Sequence[ColumnElement[bool]]) -> Select[JobRow]:
    return in_claim_order(select(JobRow).where(JobRow.owner == owner, *IS_READY, *can_run))


def _take(session: Session, job: JobRow, worker: str, lease_s: float) -> HeldAttempt | None:
    """Begin the job's next attempt; None if another worker was faster."""
    held = HeldAttempt(job.id, job.attempt + 1)
    taken = session.execute(
        update(JobRow)
        .where(JobRow.id == job.id, JobRow.status == JobStatus.QUEUED, JobRow.attempt == job.attempt)
        .values(
            status=next_status(JobStatus.QUEUED, JobEvent.CLAIM),
            attempt=held.attempt,
            worker=worker,
            lease_expires_at=db_now(lease_s),
            started_at=func.coalesce(JobRow.started_at, db_now()),
            attempt_started_at=db_now(),
            pending_until=None,
            available_at=None,
            charged_s=0.0,
            eta_s=None,
            version=JobRow.version + 1,
        )
        .returning(JobRow.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if taken is None:
        return None
    session.execute(insert(AttemptRow).values(job_id=job.id, attempt=held.attempt, worker=worker, started_at=db_now()))
    events.add(
        session,
        job.id,
        "job.started",
        f"Attempt {held.attempt} started on {worker}.",
        data={"attempt": held.attempt, "worker": worker} | _told_of_initial(job),
    )
    return held


def _told_of_initial(job: JobRow) -> dict[str, Any]:
    if job.initial is None:
        return {}
    return {"initial": {name: job.initial[name] for name in ("job", "model", "taken", "new") if name in job.initial}}


def _claimed(session: Session, job: JobRow, held: HeldAttempt, spec: WorkSpec) -> Claimed:
    about = select(DatasetRow.sha256, DatasetRow.relations_status).where(DatasetRow.id == job.dataset_id)
    sha256, relations_status = session.execute(about).one_or_none() or (None, None)
    return Claimed(
        held=held,
        name=job.name,
        spec=spec,
        device=cast(Device, job.device),
        gpus=job.gpus,
        memory_bytes=job.memory_bytes,
        dataset_id=job.dataset_id or "",
        dataset_sha256=sha256 or "",
        relations_status=relations_status,
        epochs=job.epochs,
        failures=job.failures,
        runtime_s=job.runtime_s,
        waited_s=seconds_since(session, job.queued_at),
        checkpoints=checkpoints_of(session, job.id),
        initial=_initial_of(session, job),
        study_id=job.study_id,
        kind=job.kind,
    )


def _initial_of(session: Session, job: JobRow) -> InitialWeights | None:
    if job.initial is None:
        return None
    file = artifacts.find(session, job.id, ArtifactName.INITIAL, ArtifactFormat.KERAS)
    return InitialWeights("" if file is None else file.key, tuple(job.initial["taken"]), "model" in job.initial)


def _can_run(
    kinds: Collection[JobKind], devices: Collection[str], gpus: int, memory_bytes: int | None
) -> tuple[ColumnElement[bool], ...]:
    fits = () if memory_bytes is None else (func.coalesce(JobRow.memory_bytes, 0) <= memory_bytes,)
    return JobRow.kind.in_(kinds), JobRow.device.in_(devices), JobRow.gpus <= gpus, *fits
