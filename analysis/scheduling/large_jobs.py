"""Room for large jobs: what smaller ones may still take of a worker on which a large one waits to fit. Pure.

A large job fits only once several smaller ones have ended. Where each place that becomes free goes to the next small
job, it never does. So a job that has waited long, and whose turn it is, gets the next places of one worker. Schedulers
of clusters call this a reservation with backfill.
"""

from dataclasses import dataclass

# How long a job waits, its turn having come, before smaller ones behind it are held up for it.
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Resources:
    """What a job takes of a worker, or what a worker has: bytes of memory, and whole GPUs."""

    memory_bytes: int = 0
    gpus: int = 0

    def holds(self, other: "Resources") -> bool:
        """Whether the other fits into this."""
        return other.memory_bytes <= self.memory_bytes and other.gpus <= self.gpus


def is_held_up(needed: Resources, free: Resources, waited_s: float) -> bool:
    """Whether a worker is to make room for the job whose turn it is."""
    return waited_s >= PATIENCE_S and not free.holds(needed)


def compute_left_beside(
    needed: Resources, total: Resources, free: Resources, begun_since: Resources
) -> Resources | None:
    """What a smaller job may take now without holding up the large one; None where none may begin.

    What ran before will end. What begins while room is made has to fit beside the large job, all of it together.

    Args:
        needed: by the large job. It may be more memory than the worker has, since estimates have a margin: then it runs
            alone.
        begun_since: what the jobs take that have begun on the worker since it makes room.
    """
    memory_bytes = total.memory_bytes - needed.memory_bytes - begun_since.memory_bytes
    gpus = total.gpus - needed.gpus - begun_since.gpus
    if memory_bytes < 0 or gpus < 0:
        return None
    return Resources(min(memory_bytes, free.memory_bytes), min(gpus, free.gpus))
