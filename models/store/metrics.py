"""Epochs and results of jobs. An attempt writes rows of its own; a later attempt hides those past its start."""

from collections.abc import Mapping, Sequence

from sqlalchemy import and_, exists, insert, select
from sqlalchemy.orm import Session, aliased

from models.store.claims import HeldAttempt, require_held
from models.tables import AttemptRow, EpochRow, ResultRow


def add_epoch(session: Session, held: HeldAttempt, epoch: int, values: Mapping[str, float | None]) -> bool:
    """Write one measured epoch of the attempt that holds the job. Returns whether it is new.

    An attempt measures an epoch once: a row that is there comes from a commit of its own that was not acknowledged.

    Raises:
        LeaseLost: if the attempt no longer holds it; nothing is written.
    """
    require_held(session, held)
    if session.get(EpochRow, (held.job_id, held.attempt, epoch)) is not None:
        return False
    session.execute(insert(EpochRow).values(job_id=held.job_id, attempt=held.attempt, epoch=epoch, **values))
    return True


def epochs_of(session: Session, job_id: str) -> Sequence[EpochRow]:
    """The job's history in order. Of each epoch it has the row that no later attempt has measured again."""
    later = aliased(AttemptRow)
    superseded = exists().where(
        and_(
            later.job_id == EpochRow.job_id,
            later.attempt > EpochRow.attempt,
            later.start_epoch < EpochRow.epoch,
        )
    )
    return session.scalars(
        select(EpochRow).where(EpochRow.job_id == job_id, ~superseded).order_by(EpochRow.epoch)
    ).all()


def result_of(session: Session, job_id: str) -> ResultRow | None:
    """The figures of the kept weights, once the job has succeeded."""
    return session.get(ResultRow, job_id)
