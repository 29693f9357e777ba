"""Checkpoints: stored states from which a later attempt continues."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from heldout.lifecycle.job import TERMINAL
from models.database import db_now
from models.store import artifacts
from models.store.claims.lease import HeldAttempt, require_held
from models.store.transitions import now
from models.tables import CheckpointRow, JobRow


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
            created_at=now(session),
        )
    )
    session.flush()
    known = checkpoints_of(session, held.job_id)
    kept = {one.key for one in known[:keep]}
    unneeded = [one.key for one in known if one.key not in kept]
    forget_checkpoints(session, unneeded)
    return unneeded


def checkpoints_of(session: Session, job_id: str) -> tuple[Checkpoint, ...]:
    """The job's checkpoints, those of the latest epoch and step first."""
    rows = session.scalars(
        select(CheckpointRow)
        .where(CheckpointRow.job_id == job_id)
        .order_by(CheckpointRow.epoch.desc(), CheckpointRow.step.desc(), CheckpointRow.attempt.desc())
    )
    return tuple(Checkpoint(row.epoch, row.step, row.key) for row in rows)


def keys_without_checkpoint(session: Session, keys: Collection[str]) -> list[str]:
    """Those of the keys that are in no checkpoint's row: nobody will read their blobs."""
    known = set(session.scalars(select(CheckpointRow.key).where(CheckpointRow.key.in_(keys))))
    return [key for key in keys if key not in known]


def forget_checkpoints(session: Session, keys: Collection[str]) -> None:
    """Remove the rows of checkpoints; their blobs are the caller's to delete after the commit."""
    session.execute(
        delete(CheckpointRow).where(CheckpointRow.key.in_(keys)).execution_options(synchronize_session=False)
    )


def forget_checkpoints_of_ended(session: Session, job_id: str) -> list[str]:
    """Remove the rows of a job's checkpoints but the last, and of files of earlier attempts, if it has ended.

    From the last checkpoint another job can go on, until `forget_old_states`. Gives the keys of the others.
    """
    attempt = session.scalar(select(JobRow.attempt).where(JobRow.id == job_id, JobRow.status.in_(TERMINAL)))
    if attempt is None:
        return []
    keys = [one.key for one in checkpoints_of(session, job_id)[1:]]
    forget_checkpoints(session, keys)
    return keys + artifacts.forget_of_earlier_attempts(session, job_id, attempt)


def forget_old_states(session: Session, older_than_s: float, limit: int = 100) -> list[str]:
    """Remove the rows of checkpoints whose jobs have ended longer ago, with or without a worker. Gives their keys."""
    is_old = (JobRow.status.in_(TERMINAL), JobRow.finished_at <= db_now(-older_than_s))
    left = select(CheckpointRow.key).join(JobRow).where(*is_old).limit(limit)
    keys = list(session.scalars(left))
    forget_checkpoints(session, keys)
    return keys
