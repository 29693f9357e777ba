"""What workers have of memory for their jobs, as each of them says from time to time."""

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from models.database import db_now
from models.tables import WorkerMemoryRow

# Workers that have said nothing for so long do not count.
KNOWN_FOR_S = 24 * 3600
FORGOTTEN_AFTER_S = 2 * KNOWN_FOR_S


def report(session: Session, worker: str, memory_bytes: int) -> None:
    """Note what a worker has now. Rows of workers that are long gone go."""
    reported = session.scalar(
        update(WorkerMemoryRow)
        .where(WorkerMemoryRow.worker == worker)
        .values(memory_bytes=memory_bytes, seen_at=db_now())
        .returning(WorkerMemoryRow.worker)
        .execution_options(synchronize_session=False)
    )
    if reported is None:
        session.execute(insert(WorkerMemoryRow).values(worker=worker, memory_bytes=memory_bytes, seen_at=db_now()))
    session.execute(delete(WorkerMemoryRow).where(WorkerMemoryRow.seen_at < db_now(-FORGOTTEN_AFTER_S)))


def largest_bytes(session: Session) -> int | None:
    """The most that one worker has; None where none is known of."""
    return session.scalar(
        select(func.max(WorkerMemoryRow.memory_bytes)).where(WorkerMemoryRow.seen_at >= db_now(-KNOWN_FOR_S))
    )
