"""What a running attempt writes: what it chose at its start, how far it is, and states to continue from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, null, select, update
from sqlalchemy.orm import Session

from analysis.jobs.ledger import get_validation_read
from heldout.lifecycle.job import TERMINAL
from heldout.spec.job import JobSpec
from models.database import db_now
from models.specs import read_training_spec
from models.store import artifacts, label_reads
from models.store.claims.lease import HeldAttempt, require_held, write_held
from models.store.transitions import get_now
from models.tables import AttemptRow, CheckpointRow, EpochRow, JobRow


def record_start(
    session: Session,
    held: HeldAttempt,
    *,
    engine: Mapping[str, Any],
    spec: JobSpec,
    start_epoch: int,
    eta_s: float | None = None,
    split_digests: Mapping[str, str] | None = None,
) -> list[str]:
    """Write back what an attempt chose at its start.

    Later attempts keep the device, since it decides the last digits of all figures.

    Checkpoints of later epochs than `start_epoch` could not be used. Their rows are removed, so that no later attempt
    continues from epochs whose metrics this attempt hides.

    Args:
        spec: with choices in place of every `auto`.
        start_epoch: whole epochs that the attempt continues from.
        split_digests: of held-out splits that are the job's own.
    Returns:
        The keys of the removed checkpoints, whose blobs the caller deletes after the commit.
    """
    row = require_held(session, held)
    # Clients may have changed these since the attempt read its spec.
    changed = {"name": row.name, "metadata": row.user_metadata}
    write_held(
        session,
        held,
        engine=dict(engine),
        spec={**spec.model_dump(mode="json"), **changed},
        device=spec.resources.required_device,
        gpus=spec.resources.required_gpus,
        epoch=start_epoch,
        eta_s=eta_s,
        split_digests=dict(split_digests) if split_digests else null(),
        version=JobRow.version + 1,
    )
    session.execute(
        update(AttemptRow)
        .where(AttemptRow.job_id == held.job_id, AttemptRow.attempt == held.attempt)
        .values(start_epoch=start_epoch)
    )
    unusable = [
        checkpoint.key for checkpoint in get_checkpoints(session, held.job_id) if checkpoint.epoch > start_epoch
    ]
    forget_checkpoints(session, unusable)
    return unusable


def record_progress(session: Session, held: HeldAttempt, *, epoch: int, eta_s: float | None) -> None:
    """Write how many whole epochs are done and how long the rest should take."""
    write_held(session, held, epoch=epoch, eta_s=eta_s, version=JobRow.version + 1)


def record_epoch(session: Session, held: HeldAttempt, epoch: int, values: Mapping[str, float | None]) -> bool:
    """Write one measured epoch of the attempt that holds the job, and note its reads. Returns whether it is new.

    An attempt measures an epoch once: a row that is there comes from a commit of its own that was not acknowledged.

    Raises:
        LeaseLost: if the attempt no longer holds it; nothing is written.
    """
    row = require_held(session, held)
    if session.get(EpochRow, (held.job_id, held.attempt, epoch)) is not None:
        return False
    session.execute(insert(EpochRow).values(job_id=held.job_id, attempt=held.attempt, epoch=epoch, **values))
    if "validation_loss" in values:
        what = get_validation_read(read_training_spec(row).training)
        label_reads.add_for_job(session, held.job_id, "validation", epoch, what)
    if "test_loss" in values:
        label_reads.add_for_job(session, held.job_id, "test", epoch)
    return True


@dataclass(frozen=True)
class Checkpoint:
    """A stored state: whole epochs done, steps done of the next one, and the key of its blob."""

    epoch: int
    step: int
    key: str


def add_checkpoint(session: Session, held: HeldAttempt, checkpoint: Checkpoint, *, keep: int = 2) -> list[str]:
    """Write the row of a checkpoint whose blob is stored, and keep the newest `keep` rows of the job.

    Gives the keys of the others, whose blobs the caller deletes after the commit.
    """
    require_held(session, held)
    session.merge(
        CheckpointRow(
            job_id=held.job_id,
            attempt=held.attempt,
            epoch=checkpoint.epoch,
            step=checkpoint.step,
            key=checkpoint.key,
            created_at=get_now(session),
        )
    )
    session.flush()
    known = get_checkpoints(session, held.job_id)
    kept = {checkpoint.key for checkpoint in known[:keep]}
    unneeded = [checkpoint.key for checkpoint in known if checkpoint.key not in kept]
    forget_checkpoints(session, unneeded)
    return unneeded


def get_checkpoints(session: Session, job_id: str) -> tuple[Checkpoint, ...]:
    """The job's checkpoints, those of the latest epoch and step first."""
    rows = session.scalars(
        select(CheckpointRow)
        .where(CheckpointRow.job_id == job_id)
        .order_by(CheckpointRow.epoch.desc(), CheckpointRow.step.desc(), CheckpointRow.attempt.desc())
    )
    return tuple(Checkpoint(row.epoch, row.step, row.key) for row in rows)


def find_keys_without_checkpoint(session: Session, keys: Collection[str]) -> list[str]:
    """Those of the keys that are in no checkpoint's row: nobody will read their blobs."""
    known = set(session.scalars(select(CheckpointRow.key).where(CheckpointRow.key.in_(keys))))
    return [key for key in keys if key not in known]


def forget_checkpoints(session: Session, keys: Collection[str]) -> None:
    """Remove the rows of checkpoints; their blobs are the caller's to delete after the commit."""
    session.execute(delete(CheckpointRow).where(CheckpointRow.key.in_(keys)))


def forget_checkpoints_of_ended(session: Session, job_id: str) -> list[str]:
    """Remove the rows of a job's checkpoints but the last, and of files of earlier attempts, if it has ended.

    From the last checkpoint another job can go on, until `forget_old_states`. Gives the keys of the others.
    """
    attempt = session.scalar(select(JobRow.attempt).where(JobRow.id == job_id, JobRow.status.in_(TERMINAL)))
    if attempt is None:
        return []
    keys = [checkpoint.key for checkpoint in get_checkpoints(session, job_id)[1:]]
    forget_checkpoints(session, keys)
    return keys + artifacts.forget_of_earlier_attempts(session, job_id, attempt)


def forget_old_states(session: Session, older_than_s: float, limit: int = 100) -> list[str]:
    """Remove the rows of checkpoints whose jobs have ended longer ago, with or without a worker. Gives their keys."""
    is_old = (JobRow.status.in_(TERMINAL), JobRow.finished_at <= db_now(-older_than_s))
    left = select(CheckpointRow.key).join(JobRow).where(*is_old).limit(limit)
    keys = list(session.scalars(left))
    forget_checkpoints(session, keys)
    return keys
