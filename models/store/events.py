"""Events of subjects: jobs, datasets, studies, webhooks. Each numbers its own from 1, in the order of its row's locks.

An event's type begins with the object that it is about: `job.started`, `dataset.ready`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

from sqlalchemy import Integer, String, Table, column, delete, insert, select, update, values
from sqlalchemy.orm import Session

from heldout.kinds import KINDS
from heldout.views.event import SubjectObject
from models.database import db_now
from models.store import outbox, owner_events
from models.tables import DatasetRow, EventRow, JobRow, StudyRow, WebhookRow

Level = Literal["info", "warning", "error"]

# SQLite allows 32,766 parameters in a statement; each subject takes two.
SUBJECTS_PER_QUERY = 10_000

_TABLE = cast(Table, EventRow.__table__)
_INSERT = insert(_TABLE).values(created_at=db_now())


def add(
    session: Session,
    subject_id: str,
    type_: str,
    message: str,
    *,
    level: Level = "info",
    data: dict[str, Any] | None = None,
) -> int:
    """Append an event of a subject, with its webhook deliveries, and return its number.

    The caller's transaction holds the subject's row from here on.
    """
    number, owner = _DRAW_NUMBER[object_of(type_)](session, subject_id)
    add_numbered(session, subject_id, number, type_, message, level=level, data=data, owner=owner)
    return number


def add_numbered(
    session: Session,
    subject_id: str,
    number: int,
    type_: str,
    message: str,
    *,
    owner: str | None,
    level: Level = "info",
    data: dict[str, Any] | None = None,
) -> None:
    """Write an event, with its webhook deliveries, whose number this transaction has written as the `last_event`.

    Args:
        owner: whose stream shows the event; None for a kind of job that lists do not show, and a bundled dataset.
    """
    values = {
        "subject_object": object_of(type_),
        "subject_id": subject_id,
        "id": number,
        "owner": owner,
        "type": type_,
        "level": level,
        "message": message,
        "data": data or {},
    }
    session.execute(_INSERT, values)
    if owner is not None:
        outbox.add(session, owner, object_of(type_), subject_id, type_)


def object_of(type_: str) -> SubjectObject:
    """What an event of this type is about."""
    return SubjectObject(type_.partition(".")[0])


def has_event(session: Session, subject_id: str, type_: str) -> bool:
    """Whether the subject has an event of that type."""
    of_type = select(EventRow.id).where(EventRow.subject_id == subject_id, EventRow.type == type_)
    return session.scalar(select(of_type.exists())) or False


def page(session: Session, subject_id: str, *, after: int, limit: int) -> tuple[list[EventRow], bool]:
    """A subject's events with a number above `after`, oldest first, and whether there are more than `limit`."""
    rows = session.scalars(
        select(EventRow)
        .where(EventRow.subject_id == subject_id, EventRow.id > after)
        .order_by(EventRow.id)
        .limit(limit + 1)
    ).all()
    return list(rows[:limit]), len(rows) > limit


def newer(session: Session, after: Mapping[str, int]) -> Sequence[EventRow]:
    """For each subject its events with a number above the given one, oldest first: one query for a thousand of them."""
    found: list[EventRow] = []
    pairs = list(after.items())
    for start in range(0, len(pairs), SUBJECTS_PER_QUERY):
        known = values(column("subject_id", String), column("known", Integer), name="known")
        known_of = known.data(pairs[start : start + SUBJECTS_PER_QUERY]).cte("known_of")
        found += session.scalars(
            select(EventRow)
            .join(known_of, (EventRow.subject_id == known_of.c.subject_id) & (EventRow.id > known_of.c.known))
            .order_by(EventRow.subject_id, EventRow.id)
        )
    return found


def remove_all(session: Session, owner: str, subject_ids: Sequence[str]) -> None:
    """Delete the events of subjects that are deleted. They leave gaps in the owner's stream."""
    owner_events.lock_order(session, owner)
    for start in range(0, len(subject_ids), SUBJECTS_PER_QUERY):
        of_them = EventRow.subject_id.in_(subject_ids[start : start + SUBJECTS_PER_QUERY])
        session.execute(delete(EventRow).where(of_them).execution_options(synchronize_session=False))


def _next_of_job(session: Session, job_id: str) -> tuple[int, str | None]:
    """The next number of the job, and the owner in whose stream its events are: None for jobs that lists hide."""
    number, owner, kind = session.execute(
        update(JobRow)
        .where(JobRow.id == job_id)
        .values(last_event=JobRow.last_event + 1)
        .returning(JobRow.last_event, JobRow.owner, JobRow.kind)
        .execution_options(synchronize_session=False)
    ).one()
    return number, owner if KINDS[kind].is_listed else None


def _next_of_dataset(session: Session, dataset_id: str) -> tuple[int, str | None]:
    """The next number of the dataset, and its owner: None for a bundled one."""
    number, owner = session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == dataset_id)
        .values(last_event=DatasetRow.last_event + 1)
        .returning(DatasetRow.last_event, DatasetRow.owner)
        .execution_options(synchronize_session=False)
    ).one()
    return number, owner


def _next_of_study(session: Session, study_id: str) -> tuple[int, str | None]:
    """The next number of the study, and its owner."""
    number, owner = session.execute(
        update(StudyRow)
        .where(StudyRow.id == study_id)
        .values(last_event=StudyRow.last_event + 1)
        .returning(StudyRow.last_event, StudyRow.owner)
        .execution_options(synchronize_session=False)
    ).one()
    return number, owner


def _next_of_webhook(session: Session, webhook_id: str) -> tuple[int, str | None]:
    """The next number of the webhook, and its owner."""
    number, owner = session.execute(
        update(WebhookRow)
        .where(WebhookRow.id == webhook_id)
        .values(last_event=WebhookRow.last_event + 1)
        .returning(WebhookRow.last_event, WebhookRow.owner)
        .execution_options(synchronize_session=False)
    ).one()
    return number, owner


_DRAW_NUMBER: Mapping[SubjectObject, Callable[[Session, str], tuple[int, str | None]]] = {
    SubjectObject.JOB: _next_of_job,
    SubjectObject.DATASET: _next_of_dataset,
    SubjectObject.STUDY: _next_of_study,
    SubjectObject.WEBHOOK: _next_of_webhook,
}
