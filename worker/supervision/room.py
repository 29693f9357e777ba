"""Makes room on a worker for the next large job, which would never fit if small jobs kept filling the gaps."""

import time
from collections.abc import Collection

import structlog

from analysis.scheduling.fair_share import Resources, compute_left_beside, is_held_up
from heldout.work.kinds import JobKind
from models.database import Database
from models.store import claims
from models.store.claims import Capacity, HeldAttempt, WaitingJob
from worker.machine.devices import list_claimable_devices
from worker.machine.shares import Gpus, MemoryBudget

log = structlog.get_logger()

# How often a worker with jobs checks which job is next, and reports that it still makes room.
LOOK_EVERY_S = 5.0
# Another worker may make room instead if this one has not reported for this long.
ROOM_LEASE_S = 30.0


class RoomForLargeJob:
    """Makes room for one job at a time, and for each job on one worker. Called by the thread that claims."""

    def __init__(self, database: Database, worker: str, memory: MemoryBudget, gpus: Gpus) -> None:
        self._database = database
        self._worker = worker
        self._memory = memory
        self._gpus = gpus
        self._job: WaitingJob | None = None
        self._ran_before: frozenset[HeldAttempt] = frozenset()
        self._looked_at: float | None = None

    def compute_left(self, free: Resources, kinds: Collection[JobKind]) -> Resources | None:
        """Return how much of the free resources may be claimed; None if nothing. Checks the queue from time to time.

        Raises:
            DatabaseUnavailable.
        """
        if not self._memory.taken:  # nothing to wait for: any job that fits is claimed
            self._job = None
            return free
        now = time.monotonic()
        if self._looked_at is None or now - self._looked_at >= LOOK_EVERY_S:
            self._look(free, kinds)
            self._looked_at = now
        return self.compute_left_now(free)

    def compute_left_now(self, free: Resources) -> Resources | None:
        """Return the same as of the last check."""
        if self._job is None or free.holds(self._job.needs):
            return free
        begun_since = self._sum_taken(self._memory.taken.keys() - self._ran_before)
        return compute_left_beside(self._job.needs, self._total, free, begun_since)

    def look_again(self) -> None:
        """Note that a job was claimed: another may be next now."""
        self._looked_at = None

    @property
    def _total(self) -> Resources:
        return Resources(self._memory.total_bytes, len(self._gpus.all))

    def _sum_taken(self, attempts: Collection[HeldAttempt]) -> Resources:
        taken = self._memory.taken
        gpus = sum(len(self._gpus.of(attempt)) for attempt in attempts)
        return Resources(sum(taken.get(attempt, 0) for attempt in attempts), gpus)

    def _look(self, free: Resources, kinds: Collection[JobKind]) -> None:
        total = self._total
        with self._database.read() as session:
            whole = Capacity(list_claimable_devices(total.gpus), total.gpus, kinds, self._memory.most_bytes)
            first = claims.find_first_in_line(session, whole)
        if first is None or not is_held_up(first.needs, free, first.waited_s) or not self._may_make_room(first.job_id):
            self._job = None
            return
        if self._job is None or self._job.job_id != first.job_id:
            self._ran_before = frozenset(self._memory.taken)
            log.info("makes_room", job_id=first.job_id, memory_bytes=first.needs.memory_bytes, gpus=first.needs.gpus)
        self._job = first

    def _may_make_room(self, job_id: str) -> bool:
        with self._database.write() as session:
            return claims.make_room(session, job_id, self._worker, ROOM_LEASE_S)
