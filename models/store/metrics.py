"""Epochs and results. Attempts write their own rows; those past a later attempt's start are hidden."""

from collections.abc import Mapping, Sequence

from sqlalchemy import and_, exists, insert, select
from sqlalchemy.orm import Session, aliased

from models.store.claims import HeldAttempt, require_held
from models.tables import AttemptRow, EpochRow, ResultRow

EVALUATION = "evaluation.json"


def add_epoch(session: Session, held: HeldAttempt, epoch: int, values: Mapping[str, float | None]) -> bool:
    """Write one measured epoch of the attempt that holds the job, and give back whether it was not there yet.

    An attempt measures an epoch once: what is there is from a commit of its own that was not acknowledged.

    Raises:
        LeaseLost: if the attempt no longer holds it; nothing is written.
    """
    require_held(session, held)
    if session.get(EpochRow, (held.job_id, held.attempt, epoch)) is not None:
        return False
    session.execute(insert(EpochRow).values(job_id=held.job_id, attempt=held.attempt, epoch=epoch, **values))
    return True


def epochs_of(session: Session, job_id: str) -> Sequence[EpochRow]:
    """The job's history, epoch by epoch: of each epoch the row that no later attempt started before."""
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
    return session.get(ResultRow, job_id)


def evaluation_key(result: ResultRow) -> str:
    """Where the attempt that ended well has put its counts by class, beside its model."""
    return f"{result.model_key.rpartition('/')[0]}/{EVALUATION}"
