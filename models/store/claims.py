"""What workers and the reconciler do to jobs: claim, renew, settle, take back."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, null, or_, select, update
from sqlalchemy.orm import Session

from heldout.errors import LeaseLost
from heldout.lifecycle import TERMINAL, JobEvent, JobRequest, JobStatus, StopReason, after_failure, next_status
from models.database import db_now
from models.store import artifacts, events
from models.store.artifacts import Artifact
from models.store.transitions import move, now, seconds_since
from models.tables import AttemptRow, CheckpointRow, DatasetRow, JobRow, ResultRow


@dataclass(frozen=True)
class HeldAttempt:
    """The right to write to a job: its id and the attempt that claimed it."""

    job_id: str
    attempt: int


@dataclass(frozen=True)
class Checkpoint:
    """A stored state: whole epochs done, steps done of the next one, and the key of its blob."""

    epoch: int
    step: int
    key: str


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


@dataclass(frozen=True)
class Result:
    """What a success leaves behind: `metrics.final`, and the files that were stored."""

    final: dict[str, Any]
    artifacts: tuple[Artifact, ...]


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
        checkpoints=_checkpoints(session, job.id),
    )


def require_held(session: Session, held: HeldAttempt) -> JobRow:
    """The running row, locked, if this attempt still holds it.

    Raises:
        LeaseLost: if another attempt has it or it no longer runs.
    """
    row = session.scalars(select(JobRow).where(*_held_by(held)).with_for_update()).one_or_none()
    if row is None:
        raise LeaseLost(held.job_id, held.attempt)
    return row


def renew(session: Session, worker: str, held: Collection[HeldAttempt], lease_s: float) -> set[HeldAttempt]:
    """Prolong the leases that are still held, and give those back; the others are lost."""
    kept = set()
    # In one order everywhere, so that two transactions never wait for each other.
    for one in sorted(held, key=lambda h: h.job_id):
        renewed = session.execute(
            update(JobRow)
            .where(*_held_by(one))
            .values(lease_expires_at=db_now(lease_s), worker=worker)
            .returning(JobRow.id)
            .execution_options(synchronize_session=False)
        ).scalar_one_or_none()
        if renewed is not None:
            kept.add(one)
    return kept


def requests(session: Session, held: Collection[HeldAttempt]) -> Mapping[HeldAttempt, JobRequest | None]:
    """What clients asked of these jobs; a job that is no longer held is absent."""
    rows = session.execute(
        select(JobRow.id, JobRow.attempt, JobRow.request).where(
            JobRow.id.in_([one.job_id for one in held]), JobRow.status == JobStatus.RUNNING
        )
    )
    found = {HeldAttempt(id_, attempt): request for id_, attempt, request in rows}
    return {one: found[one] for one in held if one in found}


def begin(
    session: Session,
    held: HeldAttempt,
    *,
    engine: Mapping[str, Any],
    spec: Mapping[str, Any],
    start_epoch: int,
    eta_s: float | None = None,
) -> list[str]:
    """Write back what an attempt decided at its start: where it runs, its automatic choices, where it continues.

    The device is kept for later attempts too, since it decides the last digits: `auto` is over then.

    Checkpoints past its start could not be used. They are forgotten, so that no later attempt continues from epochs
    whose rows this one's start hides; gives back their keys.
    """
    _write(
        session,
        held,
        engine=dict(engine),
        spec=dict(spec),
        device=spec["resources"]["device"],
        epoch=start_epoch,
        eta_s=eta_s,
        version=JobRow.version + 1,
    )
    session.execute(
        update(AttemptRow)
        .where(AttemptRow.job_id == held.job_id, AttemptRow.attempt == held.attempt)
        .values(start_epoch=start_epoch)
        .execution_options(synchronize_session=False)
    )
    unusable = [one.key for one in _checkpoints(session, held.job_id) if one.epoch > start_epoch]
    forget_checkpoints(session, unusable)
    return unusable


def progress(session: Session, held: HeldAttempt, *, epoch: int, eta_s: float | None) -> None:
    """Write how many whole epochs are done and how long the rest should take."""
    _write(session, held, epoch=epoch, eta_s=eta_s, version=JobRow.version + 1)


def add_checkpoint(session: Session, held: HeldAttempt, checkpoint: Checkpoint, *, keep: int = 2) -> list[str]:
    """Note a stored checkpoint and give back the keys of older ones that are no longer needed."""
    require_held(session, held)
    session.merge(
        CheckpointRow(
            job_id=held.job_id,
            attempt=held.attempt,
            epoch=checkpoint.epoch,
            step=checkpoint.step,
            key=checkpoint.key,
            created_at=now(session),
        )
    )
    session.flush()
    known = _checkpoints(session, held.job_id)
    kept = {one.key for one in known[:keep]}
    dropped = [one.key for one in known if one.key not in kept]
    forget_checkpoints(session, dropped)
    return dropped


def unnamed(session: Session, keys: Collection[str]) -> list[str]:
    """Which of these keys no checkpoint has: their blobs are of no use."""
    named = set(session.scalars(select(CheckpointRow.key).where(CheckpointRow.key.in_(keys))))
    return [key for key in keys if key not in named]


def forget_checkpoints(session: Session, keys: Collection[str]) -> None:
    """Remove the rows of checkpoints; their blobs are the caller's to delete after the commit."""
    session.execute(
        delete(CheckpointRow).where(CheckpointRow.key.in_(keys)).execution_options(synchronize_session=False)
    )


def forget_checkpoints_of_ended(session: Session, job_id: str) -> list[str]:
    """Remove the rows of a job's checkpoints if it has ended: nothing will continue from them. Gives their keys."""
    ended = session.scalar(select(JobRow.id).where(JobRow.id == job_id, JobRow.status.in_(TERMINAL)))
    if ended is None:
        return []
    keys = [one.key for one in _checkpoints(session, job_id)]
    forget_checkpoints(session, keys)
    return keys


def forget_checkpoints_of_all_ended(session: Session, limit: int = 100) -> list[str]:
    """Remove the rows of checkpoints whose jobs have ended without a worker: cancelled while they waited, or lost."""
    left = select(CheckpointRow.key).join(JobRow).where(JobRow.status.in_(TERMINAL)).limit(limit)
    keys = list(session.scalars(left))
    forget_checkpoints(session, keys)
    return keys


def note_summary(session: Session, held: HeldAttempt, summary: dict[str, Any] | None) -> None:
    """Write how the training went, in the transaction that ends it: a job that does not end then keeps none."""
    session.execute(
        update(JobRow)
        .where(*_held_by(held))
        .values(summary=null() if summary is None else summary)
        .execution_options(synchronize_session=False)
    )


def succeed(session: Session, held: HeldAttempt, *, result: Result, stop_reason: StopReason) -> JobStatus:
    """End a job well, unless a cancel was accepted before.

    Saying it again is no error: a worker whose commit was not acknowledged cannot know that it was heard.
    """
    if session.scalar(select(ResultRow.attempt).where(ResultRow.job_id == held.job_id)) == held.attempt:
        return JobStatus.SUCCEEDED
    status = _settle(session, held, JobEvent.SUCCEED, stop_reason=stop_reason)
    if status is JobStatus.SUCCEEDED:
        session.execute(
            insert(ResultRow).values(
                job_id=held.job_id,
                attempt=held.attempt,
                final=result.final,
            )
        )
        artifacts.add(session, held.job_id, held.attempt, result.artifacts)
    return status


def fail(session: Session, held: HeldAttempt, *, code: str, detail: str) -> JobStatus:
    """End an attempt badly: back to the queue with a backoff, or for good when that would not help."""
    failures = require_held(session, held).failures + 1
    decision = after_failure(failures, code)
    error = {"code": code, "detail": detail}
    return _settle(session, held, decision.event, error=error, failures=failures, backoff_s=decision.backoff_s)


def release(session: Session, held: HeldAttempt) -> JobStatus:
    """Give a job back because its worker stops; no failure is counted."""
    return _settle(session, held, JobEvent.RELEASE)


def carry_out(session: Session, held: HeldAttempt) -> JobStatus:
    """Do what a client asked of the running job: it is cancelled or paused now."""
    request = require_held(session, held).request
    if request is None:
        raise LeaseLost(held.job_id, held.attempt)
    return _settle(session, held, JobEvent.CANCEL if request is JobRequest.CANCEL else JobEvent.PAUSE)


def take_back_lost(session: Session, limit: int = 100) -> list[tuple[str, JobStatus]]:
    """Settle jobs whose lease has run out; their workers are fenced by the next claim's attempt."""
    rows = session.scalars(
        select(JobRow)
        .where(JobRow.status == JobStatus.RUNNING, JobRow.lease_expires_at < db_now())
        .order_by(JobRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    return [(row.id, _lose(session, row, "worker_lost", "The worker's lease ran out.", counts=True)) for row in rows]


def take_back_of(session: Session, worker_prefix: str, *, counts: bool = False) -> list[tuple[str, JobStatus]]:
    """Settle jobs of workers that are known to be dead, without waiting for their leases.

    A failure is counted only if the job may have been the cause of the death.
    """
    rows = session.scalars(
        select(JobRow)
        .where(JobRow.status == JobStatus.RUNNING, JobRow.worker.startswith(worker_prefix, autoescape=True))
        .order_by(JobRow.id)
        .with_for_update(skip_locked=True)
    ).all()
    detail = "The worker died." if counts else "The service was restarted."
    return [(row.id, _lose(session, row, "worker_lost", detail, counts=counts)) for row in rows]


def expire_pending(session: Session, limit: int = 100) -> list[str]:
    """Fail queued jobs that have waited longer than their `max_pending_s`."""
    expired = session.scalars(
        select(JobRow)
        .where(JobRow.status == JobStatus.QUEUED, JobRow.pending_until < db_now())
        .order_by(JobRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for row in expired:
        error = {
            "code": "pending_too_long",
            "detail": "No worker took the job within limits.max_pending_s. Add workers or raise the limit.",
        }
        move(session, row, JobEvent.EXPIRE, error=error)
    return [row.id for row in expired]


def unannounced(session: Session, older_than_s: float, limit: int = 1000) -> Sequence[tuple[str, str]]:
    """Queued jobs, with their device, of which workers have not been told within `older_than_s`; marks them as told."""
    rows = session.execute(
        select(JobRow.id, JobRow.device)
        .where(*_OPEN, or_(JobRow.announced_at.is_(None), JobRow.announced_at < db_now(-older_than_s)))
        .order_by(JobRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        session.execute(
            update(JobRow)
            .where(JobRow.id.in_([row.id for row in rows]))
            .values(announced_at=db_now())
            .execution_options(synchronize_session=False)
        )
    return [(row.id, row.device) for row in rows]


def _fits(devices: Collection[str], gpus: int) -> tuple[Any, ...]:
    asked = JobRow.spec["resources"]["gpus"].as_integer()
    return JobRow.device.in_(devices), or_(JobRow.device != "gpu", asked <= gpus)


def _checkpoints(session: Session, job_id: str) -> tuple[Checkpoint, ...]:
    rows = session.scalars(
        select(CheckpointRow)
        .where(CheckpointRow.job_id == job_id)
        .order_by(CheckpointRow.epoch.desc(), CheckpointRow.step.desc(), CheckpointRow.attempt.desc())
    )
    return tuple(Checkpoint(row.epoch, row.step, row.key) for row in rows)


def _settle(
    session: Session,
    held: HeldAttempt,
    event: JobEvent,
    *,
    stop_reason: StopReason | None = None,
    error: dict[str, Any] | None = None,
    failures: int | None = None,
    backoff_s: float = 0.0,
) -> JobStatus:
    row = require_held(session, held)
    return move(session, row, event, stop_reason=stop_reason, error=error, failures=failures, backoff_s=backoff_s)


def _lose(session: Session, row: JobRow, code: str, detail: str, *, counts: bool) -> JobStatus:
    if not counts:
        return move(session, row, JobEvent.LOSE)
    failures = row.failures + 1
    decision = after_failure(failures, code)
    event = JobEvent.LOSE if decision.event is JobEvent.RETRY else JobEvent.FAIL
    error = {"code": code, "detail": detail}
    return move(session, row, event, error=error, failures=failures, backoff_s=0.0)


def _write(session: Session, held: HeldAttempt, **values: Any) -> None:
    written = session.execute(
        update(JobRow)
        .where(*_held_by(held))
        .values(**values)
        .returning(JobRow.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if written is None:
        raise LeaseLost(held.job_id, held.attempt)


def _held_by(held: HeldAttempt) -> tuple[Any, ...]:
    return JobRow.id == held.job_id, JobRow.attempt == held.attempt, JobRow.status == JobStatus.RUNNING
