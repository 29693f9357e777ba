"""Studies: their rows, the trainings that belong to them, and what these have measured."""

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from heldout.lifecycle import JobStatus
from heldout.views.study import EnsembleView
from models.studies.state import Purpose, Run, RunKey, Scores, TestScores
from models.studies.stored import pack_scores, pack_tested, unpack_scores
from models.tables import JobRow, StudyRow, StudyRunRow

# `study_runs.fold` where a training has the dataset's own split.
NO_FOLD = -1


def lock(session: Session, study_id: str) -> StudyRow | None:
    """The study, held until the transaction ends; None if it was deleted.

    A transaction that holds jobs may wait here. One that holds a study never waits for a job: see docs/decisions.
    """
    query = select(StudyRow).where(StudyRow.id == study_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def add_scores(session: Session, job_id: str, scores: Scores) -> None:
    """Keep what the kept weights of a study's training say of its validation images, with its end."""
    session.execute(
        update(StudyRunRow)
        .where(StudyRunRow.job_id == job_id)
        .values(scores=pack_scores(scores))
        .execution_options(synchronize_session=False)
    )


def runs_of(session: Session, study_id: str) -> list[Run]:
    """All trainings of a study in the order of their keys, with the scores of those that have succeeded."""
    query = (
        select(StudyRunRow, JobRow.status, JobRow.runtime_s, JobRow.error)
        .join(JobRow, JobRow.id == StudyRunRow.job_id)
        .where(StudyRunRow.study_id == study_id)
    )
    runs = [_run(*found) for found in session.execute(query)]
    return sorted(runs, key=lambda run: (run.key.arm, run.key.purpose, run.key.seed, run.key.variant))


def note_tested(session: Session, study_id: str, tested: TestScores, ensemble: EnsembleView | None) -> None:
    """Keep what the evaluation of base and winner has found, in the transaction that ends it well."""
    values: dict[str, Any] = {"tested": pack_tested(tested)}
    row = lock(session, study_id)
    if row is None:
        return
    if ensemble is not None:
        values["found"] = {**row.found, "ensemble": ensemble.model_dump(mode="json")}
    _write(session, study_id, values)


def note_test_failed(session: Session, study_id: str, why: str) -> None:
    """Note that base and winner will not be measured on test, in the transaction that ends their evaluation."""
    _write(session, study_id, {"test_failed": why})


def _write(session: Session, study_id: str, values: dict[str, Any]) -> None:
    session.execute(
        update(StudyRow).where(StudyRow.id == study_id).values(**values).execution_options(synchronize_session=False)
    )


def _run(row: StudyRunRow, status: JobStatus, runtime_s: float, error: dict[str, Any] | None) -> Run:
    return Run(
        key=RunKey(
            arm=row.arm,
            purpose=Purpose(row.purpose),
            seed=row.seed,
            fold=None if row.fold == NO_FOLD else row.fold,
            fold_seed=row.fold_seed,
            variant=row.variant,
        ),
        job=row.job_id,
        status=status,
        scores=None if row.scores is None else unpack_scores(row.scores),
        seconds=runtime_s,
        error=None if error is None else error["code"],
    )
