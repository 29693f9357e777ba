"""Evaluations of uploaded models: a separate kind of job, which clients see under its own routes."""

from collections.abc import Sequence

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.orm import Session, load_only

from analysis.jobs.ledger import HELD_OUT
from heldout.errors import EvaluationFinished, EvaluationNotFinished, EvaluationNotFound
from heldout.lifecycle.job import TERMINAL, JobRequest, JobStatus
from heldout.spec.model_facts import ModelFacts
from heldout.stored.results import Measurement
from heldout.work.kinds import JobKind, MeasureSpec
from models.memory import estimate_measuring_bytes
from models.store import artifacts, events, jobs, label_reads, new_jobs, workers
from models.store.artifacts import Artifact
from models.store.claims import HeldAttempt, complete, has_succeeded, require_held
from models.store.new_jobs import NewJob
from models.store.statements import find_both, find_one, select_page
from models.tables import DatasetRow, JobRow, ModelRow, ResultRow


def queue(session: Session, owner: str, model: ModelRow, facts: ModelFacts, dataset: DatasetRow) -> JobRow:
    """Queue the evaluation of a ready model."""
    spec = MeasureSpec(
        model=model.id,
        model_name=model.name,
        key=model.key,
        facts=facts.model_copy(update={"layers": (), "feature_map": None, "network": None}),
    )
    needed_bytes = estimate_measuring_bytes(model.size_bytes, facts, dataset, workers.find_largest(session))
    new_job = NewJob(spec=spec, owner=owner, name=model.name, dataset_id=dataset.id, memory_bytes=needed_bytes)
    return new_jobs.add(session, new_job)


def find(session: Session, owner: str, evaluation_id: str) -> tuple[JobRow, DatasetRow]:
    """Find the owner's evaluation and its dataset. Raises EvaluationNotFound."""
    query = _select_of(owner).where(JobRow.id == evaluation_id)
    return find_both(session, query, EvaluationNotFound(evaluation_id))


def list_page(
    session: Session, owner: str, *, model: str | None, after: str | None, limit: int
) -> tuple[list[tuple[JobRow, DatasetRow]], bool]:
    """List the owner's evaluations after the id `after`, newest first, and whether there are more than `limit`.

    Only the datasets' columns that views need are loaded.

    Args:
        model: the id of a model, to list only its evaluations.
    """
    query = _select_of(owner).options(load_only(DatasetRow.id, DatasetRow.name, DatasetRow.version))
    if model is not None:
        query = query.where(JobRow.spec["model"].as_string() == model)
    rows = session.execute(select_page(query, JobRow.id, after, limit)).all()
    return [(row[0], row[1]) for row in rows[:limit]], len(rows) > limit


def get_measurements(session: Session, evaluations: Sequence[JobRow]) -> dict[str, Measurement]:
    """Get the results of the successful evaluations, by id."""
    ids = [row.id for row in evaluations if row.status is JobStatus.SUCCEEDED]
    rows = session.scalars(select(ResultRow).where(ResultRow.job_id.in_(ids)))
    return {row.job_id: Measurement.model_validate(row.final) for row in rows}


def cancel(session: Session, owner: str, evaluation_id: str) -> None:
    """Cancel a waiting evaluation, or ask the worker of a running one to cancel it. A repeated request changes nothing.

    Raises:
        EvaluationNotFound, EvaluationFinished.
    """
    row = _lock_evaluation(session, owner, evaluation_id)
    if row.status in TERMINAL:
        raise EvaluationFinished(evaluation_id, row.status)
    jobs.cancel_locked(session, row)


def remove(session: Session, owner: str, evaluation_id: str) -> None:
    """Delete an evaluation that has ended. The caller deletes its blobs after the commit.

    Raises:
        EvaluationNotFound, EvaluationNotFinished.
    """
    row = _lock_evaluation(session, owner, evaluation_id)
    if row.status not in TERMINAL:
        raise EvaluationNotFinished(evaluation_id, row.status)
    events.remove_all(session, owner, [evaluation_id])
    session.execute(delete(JobRow).where(JobRow.id == evaluation_id))


def end(session: Session, held: HeldAttempt, measured: Measurement, files: Sequence[Artifact]) -> JobStatus:
    """End an evaluation as succeeded, unless it was cancelled. Notes its looks at held-out labels in the ledger.

    May be called twice: a worker whose commit was not acknowledged cannot know that it took effect.

    Raises:
        LeaseLost: if this attempt no longer holds the job.
    """
    if has_succeeded(session, held):
        return JobStatus.SUCCEEDED
    job = require_held(session, held)
    looked_at = [split for split in HELD_OUT if getattr(measured.metrics, split) is not None]
    assert job.dataset_id is not None
    label_reads.add_for_model(session, job.owner, job.spec["model"], job.dataset_id, looked_at)
    if job.request is not JobRequest.CANCEL:
        result = measured.model_dump(mode="json")
        session.execute(insert(ResultRow).values(job_id=job.id, attempt=held.attempt, final=result))
        artifacts.add(session, job.id, held.attempt, files)
    return complete(session, held)


def _select_of(owner: str) -> Select[JobRow, DatasetRow]:
    return (
        select(JobRow, DatasetRow)
        .join(DatasetRow, DatasetRow.id == JobRow.dataset_id)
        .where(JobRow.owner == owner, JobRow.kind == JobKind.MEASURE)
    )


def _lock_evaluation(session: Session, owner: str, evaluation_id: str) -> JobRow:
    query = select(JobRow).where(JobRow.owner == owner, JobRow.kind == JobKind.MEASURE, JobRow.id == evaluation_id)
    return find_one(session, query.with_for_update(), EvaluationNotFound(evaluation_id))
