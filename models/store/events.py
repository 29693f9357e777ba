"""Events of subjects, such as jobs and datasets. Each subject numbers its events from 1, in the order of row locks.

An event's type begins with its object: `job.started`, `dataset.ready`. If clients see a job as something else, the type
names that: for an evaluation, `job.started` becomes `evaluation.started`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.orm import Session

from heldout.access.webhooks import SubjectObject
from heldout.work.kinds import KINDS, JobKind
from models.database import db_now
from models.store import outbox, owner_events
from models.tables import DatasetRow, EventRow, JobRow, ModelRow, StudyRow, WebhookRow

Level = Literal["info", "warning", "error"]

# SQLite allows 32,766 parameters in a statement.
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
    """Append an event with its webhook deliveries, and return its number.

    From then on, the caller's transaction holds a lock on the subject's row.
    """
    drawn = _draw_number(session, get_object(type_), subject_id)
    _write(session, subject_id, drawn, type_, message, level=level, data=data)
    return drawn.number


def add_numbered(
    session: Session,
    job_id: str,
    number: int,
    type_: str,
    message: str,
    *,
    kind: JobKind,
    owner: str,
    data: dict[str, Any] | None = None,
    has_listeners: bool = True,
) -> None:
    """Append an event, with its webhook deliveries, to a job whose `last_event` this transaction has set to `number`.

    Args:
        has_listeners: False if the transaction has seen that the owner has no webhooks.
    """
    drawn = _make_drawn(number, owner, kind)
    _write(session, job_id, drawn, type_, message, level="info", data=data, has_listeners=has_listeners)


def get_object(type_: str) -> SubjectObject:
    """Get the object that an event of this type is about."""
    return SubjectObject(type_.partition(".")[0])


def has_event(session: Session, subject_id: str, type_: str) -> bool:
    """Return whether the subject has an event of this type."""
    of_type = select(EventRow.id).where(EventRow.subject_id == subject_id, EventRow.type == type_)
    return session.scalar(select(of_type.exists())) or False


def list_page(session: Session, subject_id: str, *, after: int, limit: int) -> tuple[list[EventRow], bool]:
    """List a subject's events with numbers above `after`, oldest first, and whether there are more than `limit`."""
    rows = session.scalars(
        select(EventRow)
        .where(EventRow.subject_id == subject_id, EventRow.id > after)
        .order_by(EventRow.id)
        .limit(limit + 1)
    ).all()
    return list(rows[:limit]), len(rows) > limit


def remove_all(session: Session, owner: str, subject_ids: Sequence[str]) -> None:
    """Delete the events of deleted subjects. This leaves gaps in the owner's stream."""
    owner_events.lock_order(session, owner)
    for start in range(0, len(subject_ids), SUBJECTS_PER_QUERY):
        of_them = EventRow.subject_id.in_(subject_ids[start : start + SUBJECTS_PER_QUERY])
        session.execute(delete(EventRow).where(of_them))


class _DrawnNumber(NamedTuple):
    """The number of a new event, the owner in whose stream it appears, if any, and the object it is about."""

    number: int
    owner: str | None
    about: SubjectObject


def _make_drawn(number: int, owner: str, kind: JobKind) -> _DrawnNumber:
    """Decide in which stream a job's event appears, and as which object. Internal jobs appear in none."""
    about = KINDS[kind].events_about
    return _DrawnNumber(number, None, SubjectObject.JOB) if about is None else _DrawnNumber(number, owner, about)


_NUMBERED_ROWS: Mapping[SubjectObject, Any] = {
    SubjectObject.JOB: JobRow,
    SubjectObject.DATASET: DatasetRow,
    SubjectObject.STUDY: StudyRow,
    SubjectObject.MODEL: ModelRow,
    SubjectObject.WEBHOOK: WebhookRow,
}


def _draw_number(session: Session, about: SubjectObject, subject_id: str) -> _DrawnNumber:
    """Draw the next number of a subject. Bundled datasets have no owner."""
    table = _NUMBERED_ROWS[about]
    number, owner, *kind = session.execute(
        update(table)
        .where(table.id == subject_id)
        .values(last_event=table.last_event + 1)
        .returning(table.last_event, table.owner, *([JobRow.kind] if table is JobRow else []))
    ).one()
    return _make_drawn(number, owner, *kind) if kind else _DrawnNumber(number, owner, about)


def _write(
    session: Session,
    subject_id: str,
    drawn: _DrawnNumber,
    type_: str,
    message: str,
    *,
    level: Level,
    data: dict[str, Any] | None,
    has_listeners: bool = True,
) -> None:
    type_ = f"{drawn.about.value}.{type_.partition('.')[2]}"  # clients see some jobs as something else
    values = {
        "subject_object": drawn.about,
        "subject_id": subject_id,
        "id": drawn.number,
        "owner": drawn.owner,
        "type": type_,
        "level": level,
        "message": message,
        "data": data or {},
    }
    session.execute(_INSERT, values)
    if drawn.owner is not None and has_listeners:
        outbox.add(session, drawn.owner, drawn.about, subject_id, type_)
