"""Finds and deletes expired jobs and studies, and expired events of subjects that have ended.

Rows are checked in the order of creation, a limited number at a time, so that no query reads a whole table.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import takewhile
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


def _group_by_owner(rows: Iterable[tuple[str, Id]]) -> dict[str, list[Id]]:
    """Group (owner, id) by owner."""
    found: dict[str, list[Id]] = {}
    for owner, id_ in rows:
        found.setdefault(owner, []).append(id_)
    return found


def list_old_jobs(session: Session, older_than_s: float, after: str, limit: int = ROWS_PER_LOOK) -> OldRows[str]:
    """List jobs that ended longer ago and belong to no study, among the next `limit` after the id `after`."""
    rows = session.execute(
        select(
            JobRow.id,
            JobRow.owner,
            (JobRow.study_id.is_(None) & _has_ended(older_than_s)).label("is_expired"),
            (JobRow.created_at > db_now(-older_than_s)).label("is_young"),
        )
        .where(JobRow.id > after)
        .order_by(JobRow.id)
        .limit(limit)
    ).all()
    # Ids sort by the time of creation, so no row after a young one is old.
    old_enough = list(takewhile(lambda row: not row.is_young, rows))
    last = old_enough[-1].id if len(old_enough) == limit else None
    return OldRows(_group_by_owner((row.owner, row.id) for row in old_enough if row.is_expired), last)


def list_jobs_past_end(session: Session, limit: int = ROWS_PER_LOOK) -> dict[str, list[str]]:
    """List jobs by owner that belong to no study and have been kept for as long as their specs request."""
    rows = session.execute(
        select(JobRow.id, JobRow.owner)
        .where(JobRow.keep_s.is_not(None), JobRow.study_id.is_(None), _has_ended(None))
        .order_by(JobRow.finished_at)
        .limit(limit)
    )
    return _group_by_owner((owner, id_) for id_, owner in rows)


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
            func.coalesce(EventRow.owner, "").label("owner"),
            (EventRow.created_at > db_now(-older_than_s)).label("is_young"),
        )
        .where(EventRow.position > after)
        .order_by(EventRow.position)
        .limit(limit)
    ).all()
    is_open = _list_open_subjects(session, {row.subject_id for row in rows})
    old_enough = list(takewhile(lambda row: not row.is_young, rows))
    last = old_enough[-1].position if len(old_enough) == limit else None
    ended = ((row.owner, row.position) for row in old_enough if row.subject_id not in is_open)
    return OldRows(_group_by_owner(ended), last)


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
