"""How a worker gets a job: the best of those that wait and that it can run."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.orm import Session

from heldout.lifecycle import JobEvent, JobStatus, next_status
from models.database import db_now
from models.store import events
from models.store.claims.checkpoint import Checkpoint, checkpoints_of
from models.store.claims.lease import HeldAttempt
from models.store.transitions import seconds_since
from models.tables import AttemptRow, DatasetRow, JobRow


@dataclass(frozen=True)
class Claimed:
    """A job that this worker has just claimed, with all that it needs to begin."""

    held: HeldAttempt
    kind: str
    name: str
    spec: dict[str, Any]
    dataset_id: str
    dataset_sha256: str
    epochs: int
    failures: int
    runtime_s: float  # seconds that earlier attempts ran
    waited_s: float  # since it was queued
    checkpoints: tuple[Checkpoint, ...]  # to continue from, newest first


_OPEN = (JobRow.status == JobStatus.QUEUED, or_(JobRow.available_at.is_(None), JobRow.available_at <= db_now()))


def claimable(session: Session, devices: Collection[str], gpus: int = 1) -> bool:
    """Whether a job waits that a worker with these devices, so many GPUs of them, could claim: cheap, takes no lock."""
    return session.scalar(select(select(JobRow.id).where(*_OPEN, *_fits(devices, gpus)).exists())) or False


def claim(session: Session, worker: str, devices: Collection[str], lease_s: float, gpus: int = 1) -> Claimed | None:
    """Take the best job that waits: the highest priority, then the oldest. None if there is none.

    A job for more GPUs than are free now is left for later, or for another worker; those behind it come first then.
    """
    best = (
        select(JobRow)
        .where(*_OPEN, *_fits(devices, gpus))
        .order_by(JobRow.priority.desc(), JobRow.queued_at, JobRow.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    job = session.scalars(best).one_or_none()
    if job is None:
        return None
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
        data={"attempt": held.attempt, "worker": worker},
    )
    sha256 = session.scalar(select(DatasetRow.sha256).where(DatasetRow.id == job.dataset_id))
    return Claimed(
        held=held,
        kind=job.kind,
        name=job.name,
        spec=job.spec,
        dataset_id=job.dataset_id or "",
        dataset_sha256=sha256 or "",
        epochs=job.epochs,
        failures=job.failures,
        runtime_s=job.runtime_s,
        waited_s=seconds_since(session, job.queued_at),
        checkpoints=checkpoints_of(session, job.id),
    )


def _fits(devices: Collection[str], gpus: int) -> tuple[Any, ...]:
    asked = JobRow.spec["resources"]["gpus"].as_integer()
    return JobRow.device.in_(devices), or_(JobRow.device != "gpu", asked <= gpus)
