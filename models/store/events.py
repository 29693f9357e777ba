"""Events of subjects, such as jobs and datasets. Each numbers its own from 1, in the order of its row's locks.

An event's type begins with the object that it is about: `job.started`, `dataset.ready`. A job that clients see as
something else is told of as that: of an evaluation, `job.started` becomes `evaluation.started`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from sqlalchemy import Integer, String, Table, column, delete, insert, select, update, values
from sqlalchemy.orm import Session

from heldout.access.event_types import SubjectObject
from heldout.work.kinds import KINDS, JobKind
from models.database import db_now
from models.store import outbox, owner_events
from models.tables import DatasetRow, EventRow, JobRow, StudyRow, WebhookRow
from models.tables_models import ModelRow

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
    drawn = _DRAW_NUMBER[get_object(type_)](session, subject_id)
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
    """Write an event of a job, with its webhook deliveries, whose `last_event` this transaction has set to `number`.

    Args:
        has_listeners: False where the transaction has seen that the owner has no webhook.
    """
    drawn = _make_drawn(number, owner, kind)
    _write(session, job_id, drawn, type_, message, level="info", data=data, has_listeners=has_listeners)


def get_object(type_: str) -> SubjectObject:
    """What an event of this type is about."""
    return SubjectObject(type_.partition(".")[0])


def _rename_for_subject(about: SubjectObject, type_: str) -> str:
    """The type of an event of a job as that of what the job is to clients."""
    return f"{about.value}.{type_.partition('.')[2]}"


def has_event(session: Session, subject_id: str, type_: str) -> bool:
    """Whether the subject has an event of that type."""
    of_type = select(EventRow.id).where(EventRow.subject_id == subject_id, EventRow.type == type_)
    return session.scalar(select(of_type.exists())) or False


def list_page(session: Session, subject_id: str, *, after: int, limit: int) -> tuple[list[EventRow], bool]:
    """A subject's events with a number above `after`, oldest first, and whether there are more than `limit`."""
    rows = session.scalars(
        select(EventRow)
        .where(EventRow.subject_id == subject_id, EventRow.id > after)
        .order_by(EventRow.id)
        .limit(limit + 1)
    ).all()
    return list(rows[:limit]), len(rows) > limit


def list_newer(session: Session, after: Mapping[str, int]) -> Sequence[EventRow]:
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
        session.execute(delete(EventRow).where(of_them))


class _Drawn(NamedTuple):
    """The number of a new event, in whose stream it is, if in any, and what it is about."""

    number: int
    owner: str | None
    about: SubjectObject


def _draw_next_of_job(session: Session, job_id: str) -> _Drawn:
    number, owner, kind = session.execute(
        update(JobRow)
        .where(JobRow.id == job_id)
        .values(last_event=JobRow.last_event + 1)
        .returning(JobRow.last_event, JobRow.owner, JobRow.kind)
    ).one()
    return _make_drawn(number, owner, kind)


def _make_drawn(number: int, owner: str, kind: JobKind) -> _Drawn:
    """Only some kinds of jobs are told of, and some as what clients see instead of a job."""
    about = KINDS[kind].events_about
    return _Drawn(number, None, SubjectObject.JOB) if about is None else _Drawn(number, owner, about)


_NUMBERED_ROWS: Mapping[SubjectObject, type[DatasetRow | StudyRow | ModelRow | WebhookRow]] = {
    SubjectObject.DATASET: DatasetRow,
    SubjectObject.STUDY: StudyRow,
    SubjectObject.MODEL: ModelRow,
    SubjectObject.WEBHOOK: WebhookRow,
}


def _make_next_drawer(about: SubjectObject) -> Callable[[Session, str], _Drawn]:
    """Draws the next number of a subject that is no job. A bundled dataset has no owner."""
    table = _NUMBERED_ROWS[about]

    def draw(session: Session, subject_id: str) -> _Drawn:
        number, owner = session.execute(
            update(table)
            .where(table.id == subject_id)
            .values(last_event=table.last_event + 1)
            .returning(table.last_event, table.owner)
        ).one()
        return _Drawn(number, owner, about)

    return draw


_DRAW_NUMBER: Mapping[SubjectObject, Callable[[Session, str], _Drawn]] = {
    SubjectObject.JOB: _draw_next_of_job,
    **{about: _make_next_drawer(about) for about in _NUMBERED_ROWS},
}


def _write(
    session: Session,
    subject_id: str,
    drawn: _Drawn,
    type_: str,
    message: str,
    *,
    level: Level,
    data: dict[str, Any] | None,
    has_listeners: bool = True,
) -> None:
    type_ = _rename_for_subject(drawn.about, type_)
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
