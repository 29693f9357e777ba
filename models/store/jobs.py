"""What clients do with jobs: find, cancel, pause, resume, change and delete them."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from heldout.access.rights import count_bytes
from heldout.errors import JobFinished, JobNotFinished, JobNotFound, JobNotPaused, JobNotQueued, PartOfStudy
from heldout.lifecycle.job import TERMINAL, JobEvent, JobRequest, JobStatus, get_shown_status
from heldout.work.kinds import KINDS, LISTED_KINDS
from models import wake
from models.database import db_now
from models.store import dependents, events, listing, quotas, studies
from models.store.listing import Filters, Sort, get_order, select_matching_ids, select_sorted_ids
from models.store.statements import find_both, find_one
from models.store.transitions import count_seconds_since, move
from models.tables import DatasetRow, JobRow
from models.views.job import JOB_VIEW_ONLY

# A job's new status, or the reason why it cannot be cancelled.
Cancellation = Literal["cancelled", "cancelling"] | JobNotFound | JobFinished

# The statuses, as shown to clients, of jobs that can still be cancelled.
CANCELLABLE_STATUSES = ("queued", "paused", "running", "pausing")


def find(session: Session, owner: str, job_id: str) -> JobRow:
    """Find the owner's job.

    Raises:
        JobNotFound: if it does not exist or belongs to another owner.
    """
    return find_one(session, _select_seen_by(owner).where(JobRow.id == job_id), JobNotFound(job_id))


def find_with_dataset(session: Session, owner: str, job_id: str) -> tuple[JobRow, DatasetRow]:
    """Find the owner's job and its dataset in one query. Raises JobNotFound."""
    both = _select_seen_by(owner).add_columns(DatasetRow).join(DatasetRow, DatasetRow.id == JobRow.dataset_id)
    return find_both(session, both.where(JobRow.id == job_id), JobNotFound(job_id))


def list_page(
    session: Session, owner: str, filters: Filters, *, after: str | None, limit: int, sort: Sort = Sort.CREATED
) -> Sequence[str]:
    """List the ids of the owner's jobs after the id `after`, newest first or sorted.

    Returns one more than `limit` if there are more.

    Raises:
        InvalidCursor: if a sorted list would have to continue after a deleted job.
    """
    if sort is Sort.CREATED:
        ids = select_matching_ids(session, owner, filters, limit=limit + 1, newest_first=True, after=after)
    else:
        ids = select_sorted_ids(session, owner, filters, sort, limit=limit + 1, after=after)
    return session.scalars(select(JobRow.id).where(JobRow.id.in_(ids)).order_by(*get_order(sort))).all()


def get_listed(session: Session, ids: Sequence[str]) -> Sequence[tuple[JobRow, DatasetRow]]:
    """Get the jobs with these ids and their datasets, in this order, with only the columns that views need."""
    both = select(JobRow, DatasetRow).join(DatasetRow, DatasetRow.id == JobRow.dataset_id)
    found = {row[0].id: row for row in session.execute(both.where(JobRow.id.in_(ids)).options(*JOB_VIEW_ONLY))}
    return [(found[id_][0], found[id_][1]) for id_ in ids if id_ in found]


def get_versions(session: Session, job_ids: Collection[str]) -> dict[str, tuple[int, bool, int]]:
    """Get the version, whether it has ended, and the last event's number of each job that still exists."""
    rows = session.execute(
        select(JobRow.id, JobRow.version, JobRow.status, JobRow.last_event).where(JobRow.id.in_(job_ids))
    )
    return {id_: (version, status in TERMINAL, last) for id_, version, status, last in rows}


def cancel(session: Session, owner: str, job_id: str) -> JobRow:
    """Cancel a waiting job, or ask the worker of a running job to cancel it. A repeated request changes nothing.

    Raises:
        JobNotFound, JobFinished.
    """
    row = _lock_unfinished(session, owner, job_id)
    cancel_locked(session, row)
    return _reload(session, row)


def list_cancellable(session: Session, owner: str, filters: Filters, *, limit: int) -> tuple[list[str], bool]:
    """List the oldest `limit` of the owner's jobs that match the filters and may still be cancelled.

    Returns their ids in order, and whether there are more.
    """
    statuses = [status for status in filters.statuses or CANCELLABLE_STATUSES if status in CANCELLABLE_STATUSES]
    if not statuses:
        return [], False
    ids = select_matching_ids(session, owner, replace(filters, statuses=statuses), limit=limit + 1, newest_first=False)
    found = sorted(session.scalars(ids))
    return found[:limit], len(found) > limit


def cancel_listed(session: Session, job_ids: Collection[str]) -> tuple[int, int]:
    """Cancel those of the listed jobs that can still be cancelled.

    Returns the number of waiting jobs that were cancelled, and of running jobs whose worker was asked to cancel them.
    """
    can_be_cancelled = or_(
        JobRow.status.in_([JobStatus.QUEUED, JobStatus.PAUSED]),
        and_(JobRow.status == JobStatus.RUNNING, or_(JobRow.request.is_(None), JobRow.request != JobRequest.CANCEL)),
    )
    # Rows are always locked in the same order, to avoid deadlocks. Some jobs may have ended since they were listed.
    query = select(JobRow).where(JobRow.id.in_(job_ids), can_be_cancelled).order_by(JobRow.id)
    rows = session.scalars(query.with_for_update(of=JobRow)).all()
    running = sum(row.status is JobStatus.RUNNING for row in rows)
    studies.lock_of_jobs(session, rows)
    for row in rows:
        cancel_locked(session, row)
    return len(rows) - running, running


def cancel_named(session: Session, owner: str, job_ids: Collection[str]) -> dict[str, Cancellation]:
    """Cancel these jobs of the owner. Returns each job's new status, or the reason why it cannot be cancelled."""
    # Rows are always locked in the same order.
    query = _select_seen_by(owner).where(JobRow.id.in_(job_ids)).order_by(JobRow.id)
    rows = {row.id: row for row in session.scalars(query.with_for_update(of=JobRow))}
    studies.lock_of_jobs(session, [row for row in rows.values() if row.status not in TERMINAL])
    ends: dict[str, Cancellation] = {}
    for job_id in dict.fromkeys(job_ids):
        row = rows.get(job_id)
        if row is None:
            ends[job_id] = JobNotFound(job_id)
        elif row.status in TERMINAL:
            ends[job_id] = JobFinished(job_id, row.status)
        else:
            ends[job_id] = "cancelling" if row.status is JobStatus.RUNNING else "cancelled"
            cancel_locked(session, row)
    return ends


def pause(session: Session, owner: str, job_id: str) -> JobRow:
    """Pause a queued job, or ask the worker of a running job to pause it. An accepted cancel takes precedence.

    Raises:
        JobNotFound, JobFinished.
    """
    row = _lock_unfinished(session, owner, job_id)
    if row.status is JobStatus.QUEUED:
        move(session, row, JobEvent.PAUSE)
    elif row.status is JobStatus.RUNNING and row.request is None:
        _request(session, row, JobRequest.PAUSE, "job.pausing", "Its worker was asked to pause it.")
    return _reload(session, row)


def resume(session: Session, owner: str, job_id: str) -> JobRow:
    """Put a paused job at the end of the queue. `max_pending_s` counts from now.

    Raises:
        JobNotFound, JobNotPaused, QuotaExceeded, OwnerSuspended.
    """
    row = _lock_job(session, owner, job_id)
    if row.status is not JobStatus.PAUSED:
        raise JobNotPaused(job_id, row.status)
    move(session, row, JobEvent.RESUME)
    max_pending_s = row.spec["limits"]["max_pending_s"] if row.attempt == 0 else None
    session.execute(
        update(JobRow)
        .where(JobRow.id == job_id)
        .values(
            queued_at=db_now(),
            announced_at=db_now(),
            pending_until=None if max_pending_s is None else db_now(max_pending_s),
        )
    )
    wake.note(session, row.id, row.gpus)
    quotas.require_room(session, owner, *quotas.OF_NEW_JOBS, asked=0)
    return _reload(session, row)


def change(
    session: Session,
    owner: str,
    job_id: str,
    changes: Mapping[str, Any],
    *,
    require_version: Callable[[int], None] = lambda version: None,
) -> JobRow:
    """Change a job's `name` and `metadata`, or the `priority` of a queued job, in its row and its spec.

    Args:
        changes: `metadata` is merged into the job's. Null removes a key.
        require_version: called with the version of the locked job. May raise.
    Raises:
        JobNotFound, JobNotQueued.
        InvalidSpec: if the job would have too many pairs of metadata.
    """
    row = _lock_job(session, owner, job_id)
    require_version(row.version)
    if "priority" in changes and row.status is not JobStatus.QUEUED:
        raise JobNotQueued(job_id, get_shown_status(row.status, row.request))
    if not changes:
        return row
    columns = dict(changes)
    if "metadata" in changes:
        columns["metadata"] = listing.merge_metadata(row.user_metadata, changes["metadata"])
    spec = {**row.spec, **columns}
    session.execute(
        update(JobRow)
        .where(JobRow.id == job_id)
        .values(
            **{"user_metadata" if field == "metadata" else field: value for field, value in columns.items()},
            spec=spec,
            spec_bytes=count_bytes(json.dumps(spec, ensure_ascii=False, separators=(",", ":"))),
            version=JobRow.version + 1,
        )
    )
    if "metadata" in changes:
        listing.replace_metadata(session, job_id, owner, columns["metadata"])
    return _reload(session, row)


def remove(session: Session, owner: str, job_id: str) -> list[str]:
    """Delete a job that has ended, with its experiments, heatmaps and all their rows.

    Returns the ids of these jobs. The caller deletes their blobs after the commit.

    Raises:
        JobNotFound, JobNotFinished, PartOfStudy.
    """
    row = _lock_job(session, owner, job_id)
    if row.status not in TERMINAL:
        raise JobNotFinished(job_id, row.status)
    if row.study_id is not None:
        raise PartOfStudy(job_id, row.study_id)
    more = dependents.remove(session, owner, [job_id])
    events.remove_all(session, owner, [job_id])
    session.execute(delete(JobRow).where(JobRow.id == job_id))
    return [job_id, *more]


def count_ahead_of(session: Session, row: JobRow) -> int | None:
    """Count the owner's queued jobs that will be claimed before this one. None if it is not queued."""
    if row.status is not JobStatus.QUEUED:
        return None
    return session.scalar(select(func.count()).where(*_is_ahead_of(row))) or 0


def get_queue_positions(session: Session, owner: str, ids: Collection[str]) -> dict[str, int]:
    """Get the positions of those of the jobs that are queued among the owner's jobs. Position 1 is claimed next."""
    place = func.row_number().over(order_by=(JobRow.priority.desc(), JobRow.queued_at, JobRow.id)).label("place")
    places = select(JobRow.id, place).where(JobRow.owner == owner, JobRow.status == JobStatus.QUEUED).subquery()
    found = session.execute(select(places.c.id, places.c.place).where(places.c.id.in_(ids)))
    return {job_id: number for job_id, number in found}  # noqa: C416  (typed so)


def select_jobs_ahead(row: JobRow) -> Select[JobRow]:
    """Select the owner's queued jobs that will be claimed before this one, in that order."""
    return sort_as_claimed(select(JobRow).where(*_is_ahead_of(row)))


def sort_as_claimed(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Sort a query on one owner's jobs in the order in which they are claimed."""
    return query.order_by(JobRow.priority.desc(), JobRow.queued_at, JobRow.id)


def _is_ahead_of(row: JobRow) -> tuple[ColumnElement[bool], ...]:
    earlier = or_(
        JobRow.priority > row.priority,
        and_(JobRow.priority == row.priority, JobRow.queued_at < row.queued_at),
        and_(JobRow.priority == row.priority, JobRow.queued_at == row.queued_at, JobRow.id < row.id),
    )
    return JobRow.owner == row.owner, JobRow.status == JobStatus.QUEUED, earlier


def waits_for_backoff(session: Session, row: JobRow) -> bool:
    """Return whether the job waits for its backoff to end, not for a worker."""
    return session.scalar(select(JobRow.id).where(JobRow.id == row.id, JobRow.available_at > db_now())) is not None


def count_unfinished(session: Session) -> Sequence[tuple[str, str, int]]:
    """Count all owners' jobs that have not ended by kind and status, from an index of them alone."""
    columns = JobRow.kind, JobRow.status
    rows = session.execute(select(*columns, func.count()).where(JobRow.finished_at.is_(None)).group_by(*columns))
    return [(kind.value, status.value, count) for kind, status, count in rows]


def count_waiting(session: Session) -> Sequence[tuple[str, int, float]]:
    """Count all owners' queued jobs by device, with the seconds that the oldest has waited."""
    rows = session.execute(
        select(JobRow.device, func.count(), func.min(JobRow.queued_at))
        .where(JobRow.status == JobStatus.QUEUED)
        .group_by(JobRow.device)
    )
    return [(device, count, count_seconds_since(session, oldest)) for device, count, oldest in rows.all()]


def get_dataset(session: Session, row: JobRow) -> DatasetRow:
    """Get the dataset that the job was submitted for."""
    return session.get_one(DatasetRow, row.dataset_id)


def get_datasets(session: Session, rows: Collection[JobRow]) -> dict[str | None, DatasetRow]:
    """Get the datasets of several jobs by id, in one query."""
    ids = {row.dataset_id for row in rows}
    return {row.id: row for row in session.scalars(select(DatasetRow).where(DatasetRow.id.in_(ids)))}


def _select_seen_by(owner: str) -> Select[JobRow]:
    return select(JobRow).where(JobRow.owner == owner, JobRow.kind.in_(LISTED_KINDS))


def _lock_job(session: Session, owner: str, job_id: str) -> JobRow:
    query = _select_seen_by(owner).where(JobRow.id == job_id).with_for_update()
    return find_one(session, query, JobNotFound(job_id))


def _lock_unfinished(session: Session, owner: str, job_id: str) -> JobRow:
    row = _lock_job(session, owner, job_id)
    if row.status in TERMINAL:
        raise JobFinished(job_id, row.status)
    return row


def _reload(session: Session, row: JobRow) -> JobRow:
    session.refresh(row)
    return row


def cancel_locked(session: Session, row: JobRow) -> None:
    """Cancel a locked job that has not ended, or ask its worker to cancel it."""
    if row.status is not JobStatus.RUNNING or KINDS[row.kind].runs_elsewhere:
        move(session, row, JobEvent.CANCEL)
    elif row.request is not JobRequest.CANCEL:
        _request(session, row, JobRequest.CANCEL, "job.cancelling", "Its worker was asked to cancel it.")


def _request(session: Session, row: JobRow, request: JobRequest, event: str, message: str) -> None:
    session.execute(
        update(JobRow)
        .where(JobRow.id == row.id, JobRow.status == JobStatus.RUNNING, JobRow.attempt == row.attempt)
        .values(request=request, version=JobRow.version + 1)
    )
    events.add(session, row.id, event, message, data={"attempt": row.attempt})
