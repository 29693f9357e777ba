"""Finds and deletes expired jobs and studies, and expired events of subjects that have ended.

Rows are checked in the order of creation, a limited number at a time, so that no query reads a whole table.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from heldout.lifecycle.job import TERMINAL
from heldout.lifecycle.resources import DatasetStatus, ModelStatus, StudyStatus
from models.database import db_now
from models.store import events, owner_events
from models.tables import DatasetRow, EventRow, JobRow, ModelRow, StudyRow

ROWS_PER_LOOK = 1000


Id = TypeVar("Id", int, str)


@dataclass(frozen=True)
class OldRows(Generic[Id]):
    """The expired rows found in one pass: their ids by owner, and the last row checked.

    last is None after the last row that is old enough.
    """

    by_owner: dict[str, list[Id]]
    last: Id | None


def _collect(rows: Sequence[tuple[Id, str, bool, bool]], limit: int) -> OldRows[Id]:
    """Collect the expired ones of (id, owner, is expired, is young), which are in the order of creation."""
    found: dict[str, list[Id]] = {}
    for id_, owner, is_old, is_young in rows:
        if is_young:
            return OldRows(found, None)
        if is_old:
            found.setdefault(owner, []).append(id_)
    return OldRows(found, rows[-1][0] if len(rows) == limit else None)


def list_old_jobs(session: Session, older_than_s: float, after: str, limit: int = ROWS_PER_LOOK) -> OldRows[str]:
    """List jobs that ended longer ago and belong to no study, among the next `limit` after the id `after`."""
    rows = session.execute(
        select(
            JobRow.id,
            JobRow.owner,
            JobRow.study_id.is_(None) & _has_ended(older_than_s),
            JobRow.created_at > db_now(-older_than_s),
        )
        .where(JobRow.id > after)
        .order_by(JobRow.id)
        .limit(limit)
    ).all()
    return _collect([(id_, owner, is_old, is_young) for id_, owner, is_old, is_young in rows], limit)


def list_jobs_past_end(session: Session, limit: int = ROWS_PER_LOOK) -> dict[str, list[str]]:
    """List jobs by owner that belong to no study and have been kept for as long as their specs request."""
    rows = session.execute(
        select(JobRow.id, JobRow.owner)
        .where(JobRow.keep_s.is_not(None), JobRow.study_id.is_(None), _has_ended(None))
        .order_by(JobRow.finished_at)
        .limit(limit)
    )
    return _collect([(id_, owner, True, False) for id_, owner in rows], limit).by_owner


def remove_jobs(session: Session, owner: str, job_ids: Collection[str], older_than_s: float | None) -> list[str]:
    """Delete those of an owner's jobs that are still expired, with all their rows. Returns their ids.

    The caller deletes their blobs after the commit.
    """
    removed = session.scalars(
        select(JobRow.id)
        .where(JobRow.id.in_(job_ids), JobRow.study_id.is_(None), _has_ended(older_than_s))
        .order_by(JobRow.id)
        .with_for_update(skip_locked=True)
    ).all()
    if removed:
        events.remove_all(session, owner, removed)
        session.execute(delete(JobRow).where(JobRow.id.in_(removed)))
    return list(removed)


def list_old_studies(session: Session, older_than_s: float, limit: int = 10) -> list[tuple[str, str]]:
    """List (owner, id) of studies that ended longer ago and have no unfinished jobs."""
    is_open = select(JobRow.id).where(JobRow.study_id == StudyRow.id, JobRow.status.not_in(TERMINAL)).exists()
    rows = session.execute(
        select(StudyRow.owner, StudyRow.id)
        .where(StudyRow.status != StudyStatus.RUNNING, StudyRow.finished_at <= db_now(-older_than_s), ~is_open)
        .order_by(StudyRow.id)
        .limit(limit)
    )
    return [(owner, id_) for owner, id_ in rows]


def list_old_events(session: Session, older_than_s: float, after: int, limit: int = ROWS_PER_LOOK) -> OldRows[int]:
    """List the positions of older events whose subjects have ended, among the next `limit` after the position `after`.

    The owner of their stream is "" for none.
    """
    rows = session.execute(
        select(
            EventRow.position,
            EventRow.subject_id,
            func.coalesce(EventRow.owner, ""),
            EventRow.created_at > db_now(-older_than_s),
        )
        .where(EventRow.position > after)
        .order_by(EventRow.position)
        .limit(limit)
    ).all()
    is_open = _list_open_subjects(session, {subject_id for _, subject_id, _, _ in rows})
    return _collect([(row[0], row[2], row[1] not in is_open, row[3]) for row in rows], limit)


def remove_events(session: Session, owner: str, positions: Collection[int]) -> None:
    """Delete events, which leaves gaps in the owner's stream."""
    if owner:
        owner_events.lock_order(session, owner)
    session.execute(delete(EventRow).where(EventRow.position.in_(positions)))


def _has_ended(older_than_s: float | None) -> ColumnElement[bool]:
    """Build the condition that a job ended at least `older_than_s` ago. None: as long ago as its spec says."""
    age_s = JobRow.keep_s if older_than_s is None else older_than_s
    return JobRow.status.in_(TERMINAL) & (JobRow.finished_at <= db_now(-age_s))


def _list_open_subjects(session: Session, ids: Collection[str]) -> set[str]:
    """List the jobs, studies, datasets and models among these ids that have not ended."""
    being_made = DatasetRow.status.in_([DatasetStatus.UPLOADING, DatasetStatus.CHECKING])
    return {
        *session.scalars(select(JobRow.id).where(JobRow.id.in_(ids), JobRow.status.not_in(TERMINAL))),
        *session.scalars(select(StudyRow.id).where(StudyRow.id.in_(ids), StudyRow.status == StudyStatus.RUNNING)),
        *session.scalars(select(DatasetRow.id).where(DatasetRow.id.in_(ids), being_made)),
        *session.scalars(select(ModelRow.id).where(ModelRow.id.in_(ids), ModelRow.status == ModelStatus.CHECKING)),
    }
