"""Events of a job: numbered from 1, in the order in which its row was locked."""

from typing import Any, Literal

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from models.database import db_now
from models.tables import EventRow, JobRow

Level = Literal["info", "warning", "error"]


def add(
    session: Session,
    job_id: str,
    type_: str,
    message: str,
    *,
    level: Level = "info",
    data: dict[str, Any] | None = None,
) -> int:
    """Append an event and give back its number. The caller's transaction holds the job's row from here on."""
    number = session.execute(
        update(JobRow)
        .where(JobRow.id == job_id)
        .values(last_event=JobRow.last_event + 1)
        .returning(JobRow.last_event)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    session.execute(
        insert(EventRow).values(
            job_id=job_id,
            id=number,
            type=type_,
            level=level,
            message=message,
            data=data or {},
            created_at=db_now(),
        )
    )
    return number


def page(session: Session, job_id: str, *, after: int, limit: int) -> tuple[list[EventRow], bool]:
    """Events with a number above `after`, oldest first, and whether there are more than `limit`."""
    rows = session.scalars(
        select(EventRow).where(EventRow.job_id == job_id, EventRow.id > after).order_by(EventRow.id).limit(limit + 1)
    ).all()
    return list(rows[:limit]), len(rows) > limit
