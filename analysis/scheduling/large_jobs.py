"""Makes room for large jobs: what smaller ones may still take of a worker for which a large one waits. Pure.

A large job only fits after several smaller ones have ended. If each free place goes to the next small job, it never
fits. So a job that is next and has waited long gets the next places of one worker. Cluster schedulers call this a
reservation with backfill.
"""

from dataclasses import dataclass

# How long a job that is next waits before smaller ones behind it are held back for it.
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Resources:
    """The resources of a job or a worker: bytes of memory, and whole GPUs."""

    memory_bytes: int = 0
    gpus: int = 0

    def holds(self, other: "Resources") -> bool:
        """Return whether the other fits into this."""
        return other.memory_bytes <= self.memory_bytes and other.gpus <= self.gpus


def is_held_up(needed: Resources, free: Resources, waited_s: float) -> bool:
    """Return whether a worker should make room for the next job."""
    return waited_s >= PATIENCE_S and not free.holds(needed)


def compute_left_beside(
    needed: Resources, total: Resources, free: Resources, begun_since: Resources
) -> Resources | None:
    """Return what a smaller job may take now without delaying the large one; None if none may begin.

    Jobs that ran before will end. All jobs that begin while room is made must fit together with the large job.

    Args:
        needed: by the large job. Because estimates have a margin, it may be more memory than the worker has; the job
        then runs alone.
        begun_since: the resources of jobs that began on the worker since it started making room.
    """
    memory_bytes = total.memory_bytes - needed.memory_bytes - begun_since.memory_bytes
    gpus = total.gpus - needed.gpus - begun_since.gpus
    if memory_bytes < 0 or gpus < 0:
        return None
    return Resources(min(memory_bytes, free.memory_bytes), min(gpus, free.gpus))
