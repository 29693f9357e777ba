"""Events of a job: numbered from 1, in the order in which its row was locked."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from sqlalchemy import Integer, String, Table, column, insert, select, update, values
from sqlalchemy.orm import Session

from models.database import db_now
from models.store import outbox
from models.tables import EventRow, JobRow

Level = Literal["info", "warning", "error"]

# A statement's parameters are limited, on SQLite to 32,766.
JOBS_A_QUERY = 10_000

_TABLE = cast(Table, EventRow.__table__)
_INSERT = insert(_TABLE).values(created_at=db_now())


def add(
    session: Session,
    job_id: str,
    type_: str,
    message: str,
    *,
    level: Level = "info",
    data: dict[str, Any] | None = None,
) -> int:
    """Append an event, and what webhooks are to hear of it, and give back its number.

    The caller's transaction holds the job's row from here on.
    """
    number = session.execute(
        update(JobRow)
        .where(JobRow.id == job_id)
        .values(last_event=JobRow.last_event + 1)
        .returning(JobRow.last_event)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    _write(session, job_id, number, type_, message, level, data)
    outbox.add_for_job(session, job_id, type_)
    return number


def has_event(session: Session, job_id: str, type_: str) -> bool:
    """Whether the job has an event of that type."""
    of_type = select(EventRow.id).where(EventRow.job_id == job_id, EventRow.type == type_)
    return session.scalar(select(of_type.exists())) or False


def add_first(session: Session, job_id: str, type_: str, message: str, *, data: dict[str, Any] | None = None) -> None:
    """Write event 1 of a job whose row this transaction has just inserted, with `last_event` 1."""
    _write(session, job_id, 1, type_, message, "info", data)


def page(session: Session, job_id: str, *, after: int, limit: int) -> tuple[list[EventRow], bool]:
    """Events with a number above `after`, oldest first, and whether there are more than `limit`."""
    rows = session.scalars(
        select(EventRow).where(EventRow.job_id == job_id, EventRow.id > after).order_by(EventRow.id).limit(limit + 1)
    ).all()
    return list(rows[:limit]), len(rows) > limit


def newer(session: Session, after: Mapping[str, int]) -> Sequence[EventRow]:
    """For each job its events with a number above the given one, oldest first: one query for a thousand jobs."""
    found: list[EventRow] = []
    pairs = list(after.items())
    for start in range(0, len(pairs), JOBS_A_QUERY):
        known = values(column("job_id", String), column("known", Integer), name="known")
        known_of = known.data(pairs[start : start + JOBS_A_QUERY]).cte("known_of")
        found += session.scalars(
            select(EventRow)
            .join(known_of, (EventRow.job_id == known_of.c.job_id) & (EventRow.id > known_of.c.known))
            .order_by(EventRow.job_id, EventRow.id)
        )
    return found


def _write(
    session: Session, job_id: str, number: int, type_: str, message: str, level: Level, data: dict[str, Any] | None
) -> None:
    session.execute(
        _INSERT,
        {"job_id": job_id, "id": number, "type": type_, "level": level, "message": message, "data": data or {}},
    )
