"""A study's external trainings: leased to runners, renewed, and ended by the results that runners report."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, case, func, select, update
from sqlalchemy.orm import Session, defer, load_only

from analysis.studies.reported_results import SAME_ANSWERS, ReportedResult, explain_disagreement
from analysis.studies.stored import pack_scores
from heldout.errors import InvalidSpec, LeaseLost, RunNotFound, RunReplaced, RunsDisagree
from heldout.lifecycle.job import TERMINAL, FailureCode, JobEvent, JobStatus, StopReason
from heldout.stored.evaluation import SplitName
from heldout.studies.spec import BASE_ARM
from heldout.work.kinds import JobKind
from models.database import db_now
from models.store.claims.claiming import take
from models.store.claims.lease import HeldAttempt, is_held_by, require_held
from models.store.statements import find_both
from models.store.studies import NO_FOLD, lock_of_jobs
from models.store.studies import find as find_study
from models.store.transitions import get_now, move
from models.tables import JobRow, StudyRow, StudyRunRow

# Validation images times trainings of a study. They are compared in memory, in one transaction.
MAX_ANSWERS = 20_000_000
# The columns with answers to single images, which only comparisons read.
_WITHOUT_ANSWERS = defer(StudyRunRow.scores), defer(StudyRunRow.sealed)
_RUNS = select(JobRow, StudyRunRow).join(StudyRunRow, StudyRunRow.job_id == JobRow.id)


def ask(session: Session, study_id: str, runner: str, lease_s: float) -> tuple[JobRow, StudyRunRow, str] | None:
    """Lease the next training of a study. Returns its rows and the token that proves it, or None.

    Writes only if it leases.
    A training whose lease has ended is leased again. Seeds come in order, each with the base first, so that arms can be
    compared early.
    """
    found = session.execute(
        _RUNS.where(*_is_open(study_id))
        .order_by(StudyRunRow.seed, case((StudyRunRow.arm == BASE_ARM, 0), else_=1), JobRow.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=JobRow)
    ).one_or_none()
    if found is None:
        return None
    job, run = found
    if job.status is JobStatus.RUNNING:
        move(
            session, job, JobEvent.LOSE, error={"code": FailureCode.WORKER_LOST, "detail": "The runner's lease ended."}
        )
        session.refresh(job)
    held = take(session, job, runner, lease_s)
    return None if held is None else (job, run, str(held.attempt))


def has_open(session: Session, study_id: str) -> bool:
    """Return whether `ask` would find a training."""
    return session.scalar(select(JobRow.id).where(*_is_open(study_id)).limit(1)) is not None


def find_seconds_until_next(session: Session, study_id: str, most_s: float) -> float:
    """Return after how many seconds it makes sense to ask again: when the first lease ends, or `most_s`."""
    first = session.scalar(
        select(JobRow.lease_expires_at)
        .where(JobRow.study_id == study_id, JobRow.status == JobStatus.RUNNING)
        .order_by(JobRow.lease_expires_at)
        .limit(1)
    )
    if first is None:  # the study's next step is being decided
        return 1.0
    return min(most_s, max(1.0, (first - get_now(session)).total_seconds()))


def renew(session: Session, owner: str, study_id: str, run_id: str, token: str, lease_s: float) -> None:
    """Renew a lease, even one that has ended, unless another runner has taken the training.

    Raises:
        StudyNotFound, RunNotFound.
        RunReplaced: another runner holds the training, or its result is there.
    """
    require(session, owner, study_id, run_id)
    held = HeldAttempt(run_id, _parse_token(run_id, token))
    renewed = update(JobRow).where(*is_held_by(held)).values(lease_expires_at=db_now(lease_s)).returning(JobRow.id)
    if session.scalar(renewed) is None:
        raise RunReplaced(run_id)


def give_back(session: Session, owner: str, study_id: str, run_id: str, token: str) -> None:
    """End a lease, so that the next runner that asks gets the training.

    Raises:
        StudyNotFound, RunNotFound.
        RunReplaced: another runner holds the training, or its result is there.
    """
    require(session, owner, study_id, run_id)
    held = HeldAttempt(run_id, _parse_token(run_id, token))
    try:
        move(session, require_held(session, held), JobEvent.RELEASE)
    except LeaseLost:
        raise RunReplaced(run_id) from None


def tell(
    session: Session, study_id: str, run_id: str, token: str, result: ReportedResult | str, about: dict[str, Any]
) -> bool:
    """End a training with its result, or as failed. The first result counts, no matter who holds the lease.

    Args:
        result: the result, or why the training failed.
        about: further facts to store, such as the key of its file.
    Returns:
        Whether this call ended the training; False if it had ended before.
    Raises:
        RunNotFound.
        RunReplaced: `ask` has not returned the token for this run. For a recorded run: it is not `0`.
        RunsDisagree: its images are not those of a training that it is compared with, or its answers are exactly those
            of another seed.
        InvalidSpec: all trainings of the study together would have too many answers.
    """
    query = _RUNS.where(*_is_run(study_id, run_id)).options(*_WITHOUT_ANSWERS).with_for_update(of=JobRow)
    job, run = find_both(session, query, RunNotFound(study_id, run_id))
    number = _parse_token(run_id, token)
    is_recorded = session.scalar(select(StudyRow.kind).where(StudyRow.id == study_id)) == "recorded"
    # No one asks for recorded runs, whose token is 0. Others have tokens once they were asked for, the first is 1.
    if number != 0 if is_recorded else not 1 <= number <= job.attempt:
        raise RunReplaced(run_id)
    if job.status in TERMINAL:
        return False
    lock_of_jobs(session, [job])
    if isinstance(result, ReportedResult):
        _require_few_answers(session, study_id, result)
        _require_agreement(session, run, result)
        _require_own_answers(session, run, result)
    if job.status is JobStatus.QUEUED:
        take(session, job, job.worker or "late", 60.0)
        session.refresh(job)
    if isinstance(result, str):
        move(session, job, JobEvent.FAIL, error={"code": FailureCode.SCRIPT_FAILED, "detail": result})
        return True
    values = {"scores": pack_scores(result.scores), "sealed": result.sealed, "result": {**result.facts, **about}}
    session.execute(update(StudyRunRow).where(StudyRunRow.job_id == run_id).values(**values))
    move(session, job, JobEvent.SUCCEED, stop_reason=StopReason.COMPLETED)
    return True


def require(session: Session, owner: str, study_id: str, run_id: str) -> None:
    """Raise StudyNotFound or RunNotFound if the owner has no such external training."""
    if session.scalar(select(JobRow.id).where(JobRow.owner == owner, *_is_run(study_id, run_id))) is None:
        find(session, owner, study_id, run_id)


def find(session: Session, owner: str, study_id: str, run_id: str) -> tuple[StudyRow, JobRow, StudyRunRow]:
    """Find an external training and the owner's study that it belongs to. Raises StudyNotFound, RunNotFound."""
    found = session.execute(
        select(StudyRow, JobRow, StudyRunRow)
        .join(JobRow, JobRow.study_id == StudyRow.id)
        .join(StudyRunRow, StudyRunRow.job_id == JobRow.id)
        .where(StudyRow.id == study_id, StudyRow.owner == owner, *_is_run(study_id, run_id))
        .options(defer(StudyRow.tested), *_WITHOUT_ANSWERS)
    ).one_or_none()
    if found is None:
        find_study(session, owner, study_id)
        raise RunNotFound(study_id, run_id)
    return found[0], found[1], found[2]


def list_all(session: Session, study_id: str) -> Sequence[tuple[JobRow, StudyRunRow]]:
    """List a study's external trainings by seed."""
    rows = session.execute(
        _RUNS.where(JobRow.study_id == study_id, JobRow.kind == JobKind.EXTERNAL)
        .order_by(StudyRunRow.seed, JobRow.id)
        .options(*_WITHOUT_ANSWERS)
    )
    return [(job, run) for job, run in rows]


def _require_few_answers(session: Session, study_id: str, result: ReportedResult) -> None:
    """Refuse answers that could not be compared in bounded memory, before the others are read."""
    runs = session.scalar(select(func.count()).where(StudyRunRow.study_id == study_id)) or 0
    images = len(result.scores.images)
    if runs * images > MAX_ANSWERS:
        detail = (
            f"Received {images:,} validation images for each of {runs:,} runs; expected at most "
            f"{MAX_ANSWERS // runs:,}. Send a random part of the images, the same for all runs."
        )
        raise InvalidSpec.at("/file/validation", detail)


def _require_agreement(session: Session, own: StudyRunRow, result: ReportedResult) -> None:
    """Refuse a training that cannot be compared with earlier ones. These agree, so one of each kind is checked."""
    has_result = (StudyRunRow.study_id == own.study_id, StudyRunRow.result.is_not(None))
    columns = load_only(StudyRunRow.arm, StudyRunRow.seed, StudyRunRow.fold, StudyRunRow.result)
    kinds = (StudyRunRow.fold == own.fold, StudyRunRow.fold != own.fold)
    for of_fold in kinds[:1] if own.fold == NO_FOLD else kinds:
        query = select(StudyRunRow).where(*has_result, of_fold).order_by(StudyRunRow.job_id).limit(1).options(columns)
        other = session.scalars(query).one_or_none()
        if other is None:
            continue
        assert other.result is not None
        shared: tuple[SplitName, ...] = ("validation", "test") if other.fold == own.fold else ("test",)
        name = _name_run(other)
        why = explain_disagreement(result.facts, other.result, name, shared)
        if why is not None:
            raise RunsDisagree(_name_run(own), name, why)


def _require_own_answers(session: Session, own: StudyRunRow, result: ReportedResult) -> None:
    """Refuse exactly the answers of another seed: such seeds would hide how much luck there is in a training."""
    if "answers" not in result.facts:
        return
    same = (StudyRunRow.study_id == own.study_id, StudyRunRow.arm == own.arm, StudyRunRow.fold == own.fold)
    query = select(StudyRunRow).where(*same, StudyRunRow.result["answers"].as_string() == result.facts["answers"])
    other = session.scalars(query.limit(1).options(*_WITHOUT_ANSWERS)).one_or_none()
    if other is not None:
        raise RunsDisagree(_name_run(own), _name_run(other), SAME_ANSWERS)


def _name_run(run: StudyRunRow) -> str:
    return f"{run.job_id} ({run.arm}, seed {run.seed})"


def _is_open(study_id: str) -> tuple[ColumnElement[bool], ...]:
    is_free = (JobRow.status == JobStatus.QUEUED) | (JobRow.lease_expires_at < db_now())
    is_unfinished = JobRow.status.in_([JobStatus.QUEUED, JobStatus.RUNNING])
    return JobRow.study_id == study_id, JobRow.kind == JobKind.EXTERNAL, is_unfinished, is_free


def _is_run(study_id: str, run_id: str) -> tuple[ColumnElement[bool], ...]:
    return JobRow.id == run_id, JobRow.study_id == study_id, JobRow.kind == JobKind.EXTERNAL


def _parse_token(run_id: str, token: str) -> int:
    if not token.isdecimal() or len(token) > 9:
        raise RunReplaced(run_id)
    return int(token)
