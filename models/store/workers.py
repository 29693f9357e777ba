"""What workers have, as each of them says from time to time: memory for their jobs, and GPUs."""

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from heldout.lifecycle.job import JobStatus
from heldout.work.memory import WorkerMemory, could_hold
from models.database import db_now
from models.tables import CalibrationRow, JobRow, WorkerMemoryRow

# Workers that have said nothing for so long do not count.
KNOWN_FOR_S = 24 * 3600
FORGOTTEN_AFTER_S = 2 * KNOWN_FOR_S


def report(session: Session, worker: str, memory: WorkerMemory) -> None:
    """Note what a worker has now. Rows of workers that are long gone go."""
    values = {"memory_bytes": memory.total_bytes, "resident_bytes": memory.resident_bytes, "seen_at": db_now()}
    reported = session.scalar(
        update(WorkerMemoryRow)
        .where(WorkerMemoryRow.worker == worker)
        .values(**values)
        .returning(WorkerMemoryRow.worker)
    )
    if reported is None:
        session.execute(insert(WorkerMemoryRow).values(worker=worker, **values))
    session.execute(delete(WorkerMemoryRow).where(WorkerMemoryRow.seen_at < db_now(-FORGOTTEN_AFTER_S)))


def find_largest(session: Session) -> WorkerMemory | None:
    """The worker that has the most; None where none is known of."""
    row = session.execute(
        select(WorkerMemoryRow.memory_bytes, WorkerMemoryRow.resident_bytes)
        .where(WorkerMemoryRow.seen_at >= db_now(-KNOWN_FOR_S))
        .order_by(WorkerMemoryRow.memory_bytes.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else WorkerMemory(row.memory_bytes, row.resident_bytes)


def compute_reservable(session: Session, needed_bytes: int) -> int:
    """What to reserve for a job that needs so much: never more than the largest worker could hold."""
    most = find_largest(session)
    return needed_bytes if most is None else most.cap(needed_bytes)


def is_short(session: Session, needed_bytes: int) -> bool:
    """Whether a job that needs so much waits for memory, whichever slots are free.

    Workers with jobs have what those leave. Of one without jobs nobody knows whether it still runs: it would have
    taken the job. Where all are without, only what none of them could hold waits for memory.
    """
    running = (JobRow.worker == WorkerMemoryRow.worker, JobRow.status == JobStatus.RUNNING)
    taken = select(func.sum(func.coalesce(JobRow.memory_bytes, 0))).where(*running).scalar_subquery()
    workers = session.execute(
        select(WorkerMemoryRow.memory_bytes, taken).where(WorkerMemoryRow.seen_at >= db_now(-KNOWN_FOR_S))
    ).all()
    left: list[int] = [total - taken_bytes for total, taken_bytes in workers if taken_bytes is not None]
    if left:
        return needed_bytes > max(left)
    return bool(workers) and not could_hold(max(total for total, _ in workers), needed_bytes)


GPU = "gpu"
# A worker that has said nothing for so long is taken to be gone.
GPUS_SEEN_S = 120.0


def note_gpus(session: Session, host: str, count: int) -> None:
    """A worker on this machine has so many GPUs, and lives."""
    at = session.scalar(select(db_now()))
    session.merge(CalibrationRow(host=host, device=GPU, facts={"gpus": count}, speed={}, measured_at=at))
    session.flush()


def forget_gpus(session: Session, host: str) -> None:
    """The worker of this machine ends."""
    session.execute(delete(CalibrationRow).where(CalibrationRow.host == host, CalibrationRow.device == GPU))


def find_most_gpus(session: Session) -> int:
    """How many GPUs a job can have at most: those of the living worker that has most of them; 0 without any."""
    facts = session.scalars(
        select(CalibrationRow.facts).where(
            CalibrationRow.device == GPU, CalibrationRow.measured_at > db_now(-GPUS_SEEN_S)
        )
    )
    return max((int(worker["gpus"]) for worker in facts), default=0)
