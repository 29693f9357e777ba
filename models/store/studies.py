"""Studies: their rows, their trainings, and the results."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.orm import Session, defer, load_only

from analysis.studies.reported_results import StudyObjective
from analysis.studies.reported_results import open_sealed as open_sealed_answers
from analysis.studies.state import Purpose, RunKey, Scores, StudyRun, TestScores
from analysis.studies.stored import has_begun, pack_scores, pack_tested, unpack_scores, unpack_tested
from heldout.errors import StudyFinished, StudyNotFinished, StudyNotFound
from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.lifecycle.resources import StudyStatus
from heldout.stored.gap import GapOnTest
from heldout.views.study import EnsembleView
from models.database import db_now
from models.store import dependents, events
from models.store.statements import find_both, select_page
from models.tables import DatasetRow, JobRow, LabelReadRow, StudyRow, StudyRunRow

# `study_runs.fold` of a training on the dataset's own splits.
NO_FOLD = -1


# --- rows ----------------------------------------------------------------------------------------------


def add(session: Session, **values: Any) -> None:
    """Add the row of a new study, with version 1 and no events."""
    session.execute(
        insert(StudyRow).values(
            status=StudyStatus.RUNNING,
            cancel_requested=False,
            version=1,
            last_event=0,
            created_at=db_now(),
            started_at=db_now() if has_begun(values["plan"]) else None,
            **values,
        )
    )


def find(session: Session, owner: str, study_id: str) -> tuple[StudyRow, DatasetRow | None]:
    """Find the owner's study and its dataset, if it has one. Raises StudyNotFound."""
    query = _select_with_dataset().where(StudyRow.owner == owner, StudyRow.id == study_id)
    return find_both(session, query, StudyNotFound(study_id))


def list_page(
    session: Session, owner: str, statuses: Collection[str], *, after: str | None, limit: int
) -> Sequence[str]:
    """List the ids of the owner's studies after the id `after`, newest first: `limit`, plus one if there are more."""
    query = select(StudyRow.id).where(StudyRow.owner == owner)
    if statuses:
        query = query.where(StudyRow.status.in_([StudyStatus(status) for status in statuses]))
    return session.scalars(select_page(query, StudyRow.id, after, limit)).all()


def get_listed(session: Session, ids: Sequence[str]) -> Sequence[tuple[StudyRow, DatasetRow | None]]:
    """Get the studies with these ids and their datasets, newest first, with only the columns that lists need."""
    columns = defer(StudyRow.tested), load_only(DatasetRow.id, DatasetRow.name, DatasetRow.version)
    rows = session.execute(
        _select_with_dataset().where(StudyRow.id.in_(ids)).options(*columns).order_by(StudyRow.id.desc())
    )
    return [(study, dataset) for study, dataset in rows]


def get_versions(session: Session, study_ids: Collection[str]) -> dict[str, tuple[int, bool, int]]:
    """Get the version, whether it has ended, and the last event's number of each study that still exists."""
    rows = session.execute(
        select(StudyRow.id, StudyRow.version, StudyRow.status, StudyRow.last_event).where(StudyRow.id.in_(study_ids))
    )
    return {id_: (version, status is not StudyStatus.RUNNING, last) for id_, version, status, last in rows}


def lock(session: Session, study_id: str) -> StudyRow | None:
    """Lock a study until the transaction ends. None if it was deleted.

    A transaction that holds jobs may wait here, but a transaction that holds a study never waits for a job. This avoids
    deadlocks.
    """
    query = select(StudyRow).where(StudyRow.id == study_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def lock_of_jobs(session: Session, jobs: Collection[JobRow]) -> None:
    """Lock the studies of several locked jobs that are about to end, always in the same order."""
    ids = sorted({job.study_id for job in jobs if job.study_id is not None})
    if ids:
        session.execute(select(StudyRow.id).where(StudyRow.id.in_(ids)).order_by(StudyRow.id).with_for_update())


def write(session: Session, study_id: str, **values: Any) -> None:
    """Change columns of a locked study. Each change that clients can see is a new version."""
    session.execute(update(StudyRow).where(StudyRow.id == study_id).values(**values, version=StudyRow.version + 1))


def get_ordering_key(session: Session, study_id: str) -> str | None:
    """Get the API key that ordered the study from its first job. None before that job exists, or if unknown."""
    first = select(JobRow.key_id).where(JobRow.study_id == study_id).order_by(JobRow.id).limit(1)
    return session.scalar(first)


def remove(session: Session, owner: str, study_id: str) -> list[str]:
    """Delete a study that has ended, with its jobs and all their rows. Returns the ids of the jobs.

    The caller deletes all their blobs after the commit.

    Raises:
        StudyNotFound, StudyNotFinished.
    """
    row, _ = find(session, owner, study_id)
    if row.status is StudyStatus.RUNNING or has_open_jobs(session, study_id):
        raise StudyNotFinished(study_id, row.status)
    of_study = JobRow.study_id == study_id
    jobs = list(session.scalars(select(JobRow.id).where(of_study).order_by(JobRow.id).with_for_update()))
    more = dependents.remove(session, owner, jobs)
    events.remove_all(session, owner, [study_id, *jobs])
    session.execute(delete(JobRow).where(of_study))
    session.execute(delete(StudyRow).where(StudyRow.id == study_id))
    return [*jobs, *more]


def list_running(session: Session) -> Sequence[tuple[str, bool]]:
    """List all studies that have not ended, and whether each has jobs to cancel."""
    is_running = StudyRow.status == StudyStatus.RUNNING
    columns = (StudyRow.id, StudyRow.cancel_requested, StudyRow.found["unneeded"])
    rows = session.execute(select(*columns).where(is_running).order_by(StudyRow.id))
    return [(id_, bool(is_cancelled or unneeded)) for id_, is_cancelled, unneeded in rows]


def is_waiting(study: StudyRow) -> bool:
    """Return whether the study is waiting for its data, without a request to cancel it."""
    return study.status is StudyStatus.RUNNING and not has_begun(study.plan) and not study.cancel_requested


def list_waiting(session: Session) -> Sequence[str]:
    """List the ids of all studies that wait for their data, oldest first."""
    is_running = StudyRow.status == StudyStatus.RUNNING
    rows = session.scalars(select(StudyRow).where(is_running, StudyRow.started_at.is_(None)).order_by(StudyRow.id))
    return [study.id for study in rows if is_waiting(study)]


def end_waiting(session: Session, study_id: str, **values: Any) -> None:
    """Write the plan of a study that waited for its data. Raises StudyFinished if it no longer waits."""
    study = lock(session, study_id)
    if study is None or not is_waiting(study):
        raise StudyFinished(study_id, "begun" if study is None else study.status)
    write(session, study_id, started_at=db_now(), **values)


def list_open(session: Session, **columns: str) -> Sequence[str]:
    """List the ids of studies that have not ended. columns: an `owner` or `dataset_id` that they must have."""
    query = select(StudyRow.id).filter_by(status=StudyStatus.RUNNING, **columns)
    return session.scalars(query.order_by(StudyRow.id)).all()


# --- trainings -----------------------------------------------------------------------------------------


# Built once and without objects, because a look may add hundreds of trainings.
_ADD_RUN = insert(cast(Table, StudyRunRow.__table__))


def add_run(session: Session, study_id: str, job_id: str, key: RunKey) -> None:
    """Record which training of a study a new job is."""
    values = {
        "arm": key.arm,
        "purpose": key.purpose.value,
        "seed": key.seed,
        "fold": NO_FOLD if key.fold is None else key.fold,
        "fold_seed": key.fold_seed,
        "variant": key.variant,
    }
    session.execute(_ADD_RUN, {"study_id": study_id, "job_id": job_id, **values})


def add_scores(session: Session, job_id: str, scores: Scores) -> None:
    """Store the validation scores of a study's training, before it ends."""
    session.execute(update(StudyRunRow).where(StudyRunRow.job_id == job_id).values(scores=pack_scores(scores)))


def list_runs(session: Session, study_id: str) -> list[StudyRun]:
    """List the trainings of a study by key, with the scores of successful ones."""
    query = (
        select(StudyRunRow, JobRow.status, JobRow.runtime_s, JobRow.error)
        .join(JobRow, JobRow.id == StudyRunRow.job_id)
        .where(StudyRunRow.study_id == study_id)
        .options(defer(StudyRunRow.result), defer(StudyRunRow.sealed))
    )
    runs = [_make_run(*found) for found in session.execute(query)]
    return sorted(runs, key=lambda run: (run.key.arm, run.key.purpose, run.key.seed, run.key.variant))


class RunOfJob(NamedTuple):
    """The training of a study that a job is. For the evaluation, all fields but the id are None. See `RunKey`."""

    job_id: str
    arm: str | None
    purpose: str | None
    variant: int | None


def find_run(session: Session, job_id: str) -> RunOfJob | None:
    """Find which training of a study a job is. None if it is not a study's training."""
    found = session.execute(
        select(StudyRunRow.arm, StudyRunRow.purpose, StudyRunRow.variant).where(StudyRunRow.job_id == job_id)
    ).one_or_none()
    return None if found is None else RunOfJob(job_id, *found)


def has_open_jobs(session: Session, study_id: str) -> bool:
    """Return whether a study has jobs that have not ended."""
    is_open = (JobRow.study_id == study_id, JobRow.status.not_in(TERMINAL))
    return session.scalar(select(JobRow.id).where(*is_open).limit(1)) is not None


def list_open_jobs(session: Session, study_id: str) -> Sequence[RunOfJob]:
    """List a study's jobs that have not ended."""
    rows = session.execute(
        select(JobRow.id, StudyRunRow.arm, StudyRunRow.purpose, StudyRunRow.variant)
        .outerjoin(StudyRunRow, StudyRunRow.job_id == JobRow.id)
        .where(JobRow.study_id == study_id, JobRow.status.not_in(TERMINAL))
        .order_by(JobRow.id)
    )
    return [RunOfJob(*row) for row in rows]


def compute_totals(session: Session, study_id: str) -> dict[str, Any]:
    """Count a study's trainings: all and done, their seconds, and the seconds since the first one started.

    A cancelled training is not done.
    """
    is_done = JobRow.status.in_([JobStatus.SUCCEEDED, JobStatus.FAILED])
    counts = session.execute(
        select(
            func.count(),
            func.count().filter(is_done),
            func.coalesce(func.sum(JobRow.runtime_s), 0.0),
            func.min(JobRow.started_at),
            db_now(),
        )
        .join(StudyRunRow, StudyRunRow.job_id == JobRow.id)
        .where(JobRow.study_id == study_id)
    ).one()
    jobs, done, seconds, began, now = counts
    elapsed_s = 0.0 if began is None else (now - began).total_seconds()
    return {"jobs": jobs, "done": done, "seconds": seconds, "elapsed_s": elapsed_s}


def get_objective(session: Session, study_id: str) -> StudyObjective:
    """Return what a study compares, as fixed when it was ordered."""
    plan = session.get_one(StudyRow, study_id).plan
    return StudyObjective(plan.get("objective"), plan.get("costs"), plan.get("group_column"))


def has_sealed(session: Session, study_id: str) -> bool:
    """Return whether a training that ran elsewhere has test answers."""
    sealed = select(StudyRunRow.job_id).where(StudyRunRow.study_id == study_id, StudyRunRow.sealed.is_not(None))
    return session.scalar(sealed.limit(1)) is not None


def open_sealed(session: Session, study: StudyRow, jobs: Collection[str]) -> None:
    """Let the base and the winner of a study meet the test images, once: open their sealed answers."""
    rows = session.execute(select(StudyRunRow.job_id, StudyRunRow.sealed).where(StudyRunRow.job_id.in_(jobs))).all()
    lacking = [job_id for job_id, sealed in rows if sealed is None]
    if lacking:
        why = f"{', '.join(sorted(lacking))} has no answers to test images."
        write(session, study.id, test_failed=why)
        study.test_failed = why
        return
    tested = open_sealed_answers({job_id: sealed for job_id, sealed in rows if sealed is not None})
    write(session, study.id, tested=pack_tested(tested))
    session.refresh(study)


def count_reads(session: Session, study: StudyRow) -> dict[str, int]:
    """Count the looks of a study's jobs at held-out labels, by split."""
    if study.dataset_id is None:
        validated = session.scalar(
            select(func.count()).where(StudyRunRow.study_id == study.id, StudyRunRow.result.is_not(None))
        )
        opened = 0 if study.tested is None else len(unpack_tested(study.tested).losses)
        return {"validation": validated or 0, "test": opened}
    of_study = select(JobRow.id).where(JobRow.study_id == study.id)
    rows = session.execute(
        select(LabelReadRow.split, func.count())
        .where(LabelReadRow.subject_id.in_(of_study))
        .group_by(LabelReadRow.split)
    )
    return {split: count for split, count in rows}  # noqa: C416  (typed so)


# --- test ----------------------------------------------------------------------------------------------


def note_tested(
    session: Session,
    study_id: str,
    tested: TestScores,
    ensemble: EnsembleView | None,
    gaps: Mapping[str, GapOnTest],
) -> None:
    """Store the results of a study's evaluation, in the transaction that ends it as succeeded."""
    row = lock(session, study_id)
    if row is None:
        return
    found: Mapping[str, Any] = {
        **row.found,
        "gaps_on_test": {job: gap.model_dump(mode="json") for job, gap in gaps.items()},
    }
    if ensemble is not None:
        found = {**found, "ensemble": ensemble.model_dump(mode="json")}
    write(session, study_id, tested=pack_tested(tested), found=found)


def _select_with_dataset() -> Any:
    return select(StudyRow, DatasetRow).outerjoin(DatasetRow, DatasetRow.id == StudyRow.dataset_id)


def _make_run(row: StudyRunRow, status: JobStatus, runtime_s: float, error: dict[str, Any] | None) -> StudyRun:
    has_scores = status is JobStatus.SUCCEEDED and row.scores is not None
    return StudyRun(
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
        scores=unpack_scores(row.scores) if has_scores and row.scores is not None else None,
        seconds=runtime_s,
        error=None if error is None else error["code"],
    )
