"""Queues the job that measures base and winner of a study on test."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heldout.work.kinds import EvaluateSpec, JobKind
from models.ids import new_id
from models.store import new_jobs, studies
from models.tables import JobRow

MAX_RUNTIME_S = 3600


def queue(
    session: Session,
    *,
    owner: str,
    study_id: str,
    dataset_id: str,
    name: str,
    base: Sequence[str],
    winner: Sequence[str],
    priority: int,
) -> JobRow:
    """Queue the evaluation of a study. The caller sees to it that a study has one, and wakes a worker.

    Args:
        base, winner: ids of trainings that have succeeded, each of one arm.
    """
    return new_jobs.add(
        session,
        job_id=new_id("job"),
        kind=JobKind.EVALUATE,
        owner=owner,
        name=name,
        spec=EvaluateSpec(base=tuple(base), winner=tuple(winner), max_runtime_s=MAX_RUNTIME_S),
        dataset_id=dataset_id,
        priority=priority,
        device="cpu",
        memory_bytes=_most_reserved(session, [*base, *winner]),
        study_id=study_id,
        key_id=studies.key_of(session, study_id),
    )


def _most_reserved(session: Session, jobs: Sequence[str]) -> int | None:
    """What the largest of these trainings was given: to measure its model takes no more, and they come one by one."""
    return session.scalar(select(func.max(JobRow.memory_bytes)).where(JobRow.id.in_(jobs)))
