"""Finds and deletes expired jobs and studies, and expired events of subjects that have ended.

A limited number of rows is checked at a time, so that no query reads a whole table.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import takewhile

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from heldout.lifecycle.job import TERMINAL
from heldout.lifecycle.resources import DatasetStatus, ModelStatus, StudyStatus
from models.database import db_now
from models.store import dependents, events, owner_events
from models.tables import DatasetRow, EventRow, JobRow, ModelRow, StudyRow

ROWS_PER_LOOK = 1000


def list_expired_jobs(session: Session, older_than_s: float | None, limit: int = ROWS_PER_LOOK) -> dict[str, list[str]]:
    """List jobs by owner that ended at least `older_than_s` ago. None: those kept for as long as their specs request.

    Jobs of studies have no `keep_s`; others of them are omitted.
    """
    # Each condition matches the partial index that is meant for it.
    is_kept = JobRow.keep_s.is_not(None) if older_than_s is None else JobRow.study_id.is_(None)
    rows = session.execute(
        select(JobRow.owner, JobRow.id)
        .where(is_kept, _has_ended(older_than_s))
        .order_by(JobRow.finished_at)
        .limit(limit)
    )
    found: dict[str, list[str]] = {}
    for owner, job_id in rows:
        found.setdefault(owner, []).append(job_id)
    return found


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
    if not removed:
        return []
    more = dependents.remove(session, owner, removed)
    events.remove_all(session, owner, removed)
    session.execute(delete(JobRow).where(JobRow.id.in_(removed)))
    return [*removed, *more]


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


@dataclass(frozen=True)
class OldEvents:
    """The positions of expired events by owner, and the last position checked, or None after the last old event."""

    by_owner: dict[str, list[int]]
    last: int | None


def list_old_events(session: Session, older_than_s: float, after: int, limit: int = ROWS_PER_LOOK) -> OldEvents:
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
    by_owner: dict[str, list[int]] = {}
    for row in old_enough:
        if row.subject_id not in is_open:
            by_owner.setdefault(row.owner, []).append(row.position)
    return OldEvents(by_owner, last)


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
