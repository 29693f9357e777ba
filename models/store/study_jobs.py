"""Cancels studies, and does the reconciler's work for studies.

Jobs are locked before their study, in the same order as by attempts that end.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from heldout.errors import StudyFinished, StudyNotFound
from heldout.lifecycle.job import TERMINAL
from heldout.lifecycle.resources import StudyStatus
from models.store import events, jobs, studies
from models.store.study_steps import advance
from models.tables import JobRow, StudyRow

# How many jobs one transaction cancels.
JOBS_AT_ONCE = 10


def request_cancel(session: Session, owner: str, study_id: str) -> None:
    """Stop a study from starting anything new. `cancel_some` then cancels its jobs, in transactions of their own.

    A repeated request changes nothing.

    Raises:
        StudyNotFound, StudyFinished.
    """
    study = studies.lock(session, study_id)
    if study is None or study.owner != owner:
        raise StudyNotFound(study_id)
    if study.status is not StudyStatus.RUNNING:
        raise StudyFinished(study_id, study.status)
    if not study.cancel_requested:
        studies.write(session, study_id, cancel_requested=True)
        events.add(session, study_id, "study.cancelling", "Its jobs are being cancelled.")


def cancel_some(study_id: str, session: Session, after: str) -> str | None:
    """Cancel the next of a study's unneeded jobs, or of all its jobs if the study is being cancelled.

    For `Database.write_in_pieces`. If the process is killed in between, the reconciler cancels the rest.
    """
    study = session.get(StudyRow, study_id)
    if study is None or study.status is not StudyStatus.RUNNING:
        return None
    locked = _lock_jobs(session, study, after)
    for job in locked:
        jobs.cancel_locked(session, job)
    if len(locked) == JOBS_AT_ONCE:
        return locked[-1].id
    if study.cancel_requested:
        advance(session, study_id)  # if no job was left, no job's end has ended the study
    return None


def list_needing_care(session: Session) -> Sequence[str]:
    """List studies whose next step will not be triggered by the end of a job, and studies with jobs to cancel."""
    return [
        study_id
        for study_id, has_jobs_to_cancel in studies.list_running(session)
        if has_jobs_to_cancel or not studies.has_open_jobs(session, study_id)
    ]


def _lock_jobs(session: Session, study: StudyRow, after: str) -> Sequence[JobRow]:
    query = select(JobRow).where(JobRow.study_id == study.id, JobRow.id > after, JobRow.status.not_in(TERMINAL))
    if not study.cancel_requested:
        query = query.where(JobRow.id.in_(study.found.get("unneeded") or ()))
    return session.scalars(query.order_by(JobRow.id).limit(JOBS_AT_ONCE).with_for_update()).all()
