"""What a running attempt records: its choices at the start, its progress, and its checkpoints."""

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
    """Record what an attempt chose at its start.

    Later attempts keep the device, because it affects the last digits of all figures.

    Checkpoints of later epochs than `start_epoch` were unusable. Their rows are deleted, so that no later attempt
    continues from epochs whose metrics this attempt hides.

    Args:
        spec: the spec with every `auto` replaced by the choice.
        start_epoch: the completed epochs that the attempt continues from.
        split_digests: digests of held-out splits that differ from the dataset's.
    Returns:
        The keys of the deleted checkpoints, whose blobs the caller deletes after the commit.
    """
    row = require_held(session, held)
    # Clients may have changed these since the attempt read the spec.
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
    """Record the completed epochs and the estimated time left."""
    write_held(session, held, epoch=epoch, eta_s=eta_s, version=JobRow.version + 1)


def record_epoch(session: Session, held: HeldAttempt, epoch: int, values: Mapping[str, float | None]) -> bool:
    """Record a measured epoch of the attempt that holds the job, with its label reads. Returns whether it is new.

    An attempt measures an epoch once, so an existing row comes from its own unacknowledged commit.

    Raises:
        LeaseLost: if the attempt no longer holds the job. Nothing is written.
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
    """A stored state: completed epochs, completed steps of the next epoch, and the key of its blob."""

    epoch: int
    step: int
    key: str


def add_checkpoint(session: Session, held: HeldAttempt, checkpoint: Checkpoint, *, keep: int = 2) -> list[str]:
    """Add the row of a stored checkpoint, and keep the job's newest `keep` rows.

    Returns the keys of the others, whose blobs the caller deletes after the commit.
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
    """Get the job's checkpoints, with the latest epoch and step first."""
    rows = session.scalars(
        select(CheckpointRow)
        .where(CheckpointRow.job_id == job_id)
        .order_by(CheckpointRow.epoch.desc(), CheckpointRow.step.desc(), CheckpointRow.attempt.desc())
    )
    return tuple(Checkpoint(row.epoch, row.step, row.key) for row in rows)


def find_keys_without_checkpoint(session: Session, keys: Collection[str]) -> list[str]:
    """Find the keys that no checkpoint's row contains, whose blobs are no longer needed."""
    known = set(session.scalars(select(CheckpointRow.key).where(CheckpointRow.key.in_(keys))))
    return [key for key in keys if key not in known]


def forget_checkpoints(session: Session, keys: Collection[str]) -> None:
    """Delete the rows of checkpoints. The caller deletes their blobs after the commit."""
    session.execute(delete(CheckpointRow).where(CheckpointRow.key.in_(keys)))


def forget_checkpoints_of_ended(session: Session, job_id: str) -> list[str]:
    """If a job has ended, delete the rows of all its checkpoints but the last, and of files of earlier attempts.

    Until `forget_old_states`, another job can continue from the last checkpoint. Returns the deleted rows' keys.
    """
    attempt = session.scalar(select(JobRow.attempt).where(JobRow.id == job_id, JobRow.status.in_(TERMINAL)))
    if attempt is None:
        return []
    keys = [checkpoint.key for checkpoint in get_checkpoints(session, job_id)[1:]]
    forget_checkpoints(session, keys)
    return keys + artifacts.forget_of_earlier_attempts(session, job_id, attempt)


def forget_old_states(session: Session, older_than_s: float, limit: int = 100) -> list[str]:
    """Delete the rows of checkpoints of jobs that ended longer ago. Returns their keys."""
    is_old = (JobRow.status.in_(TERMINAL), JobRow.finished_at <= db_now(-older_than_s))
    left = select(CheckpointRow.key).join(JobRow).where(*is_old).limit(limit)
    keys = list(session.scalars(left))
    forget_checkpoints(session, keys)
    return keys
