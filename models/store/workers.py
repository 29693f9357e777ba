"""The memory and GPUs of workers, which report them from time to time."""

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from heldout.lifecycle.job import JobStatus
from heldout.work.memory import WorkerMemory, could_hold
from models.database import db_now
from models.tables import CalibrationRow, JobRow, WorkerMemoryRow

# Workers that have not reported for this long are ignored.
KNOWN_FOR_S = 24 * 3600
FORGOTTEN_AFTER_S = 2 * KNOWN_FOR_S


def report(session: Session, worker: str, memory: WorkerMemory) -> None:
    """Record a worker's memory. Deletes rows of workers that have not reported for long."""
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
    """Find the memory of the worker with the most memory. None if no worker is known."""
    row = session.execute(
        select(WorkerMemoryRow.memory_bytes, WorkerMemoryRow.resident_bytes)
        .where(WorkerMemoryRow.seen_at >= db_now(-KNOWN_FOR_S))
        .order_by(WorkerMemoryRow.memory_bytes.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else WorkerMemory(row.memory_bytes, row.resident_bytes)


def compute_reservable(session: Session, needed_bytes: int) -> int:
    """Compute the memory to reserve for a job, capped by the largest worker's memory."""
    most = find_largest(session)
    return needed_bytes if most is None else most.cap(needed_bytes)


def is_short(session: Session, needed_bytes: int) -> bool:
    """Return whether a job is waiting for memory, whether or not slots are free.

    Workers with jobs have the rest of their memory free. A worker without jobs may be dead: otherwise it would have
    taken the job. If no worker has jobs, a job waits for memory only if none of them could ever hold it.
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
# A worker that has not reported for this long is considered gone.
GPUS_SEEN_S = 120.0


def note_gpus(session: Session, host: str, count: int) -> None:
    """Record that the worker of this machine is alive and has this many GPUs."""
    at = session.scalar(select(db_now()))
    session.merge(CalibrationRow(host=host, device=GPU, facts={"gpus": count}, speed={}, measured_at=at))
    session.flush()


def forget_gpus(session: Session, host: str) -> None:
    """Forget the GPUs of this machine, because its worker ends."""
    session.execute(delete(CalibrationRow).where(CalibrationRow.host == host, CalibrationRow.device == GPU))


def find_most_gpus(session: Session) -> int:
    """Get the most GPUs of any live worker, which limits a job's GPUs. 0 without any."""
    facts = session.scalars(
        select(CalibrationRow.facts).where(
            CalibrationRow.device == GPU, CalibrationRow.measured_at > db_now(-GPUS_SEEN_S)
        )
    )
    return max((int(worker["gpus"]) for worker in facts), default=0)
