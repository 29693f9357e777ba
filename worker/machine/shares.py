"""How the jobs of a worker share its GPUs, memory and slots, and when it makes room for a large one.

None of this is locked: a worker claims one job at a time.
"""

import time
from collections.abc import Collection, Mapping, Sequence

import structlog

from analysis.scheduling.fair_share import Resources, compute_left_beside, count_checks_at_once, is_held_up
from heldout.work.kinds import CHECKS_IN_SLOTS, KINDS_IN_SLOTS, JobKind
from heldout.work.memory import MARGIN, RESIDENT_SHARE
from models.database import Database
from models.store import claims
from models.store.claims import Capacity, Claimed, HeldAttempt, WaitingJob
from worker.machine.devices import Gpu, list_claimable_devices

KINDS_BUT_CHECKS = tuple(kind for kind in KINDS_IN_SLOTS if kind not in CHECKS_IN_SLOTS)


class MemoryBudget:
    """Memory is reserved when a job is claimed, like GPUs, and returned when its attempt ends."""

    def __init__(self, total_bytes: int, slots: int = 1) -> None:
        self.total_bytes = total_bytes
        self.slot_bytes = total_bytes // slots
        self._taken: dict[HeldAttempt, int] = {}

    @property
    def free_bytes(self) -> int:
        """Return the bytes that a job claimed now may need.

        A worker without jobs takes any job that could fit if the estimate had its largest error.
        """
        return max(0, self.total_bytes - sum(self._taken.values())) if self._taken else self.most_bytes

    @property
    def most_bytes(self) -> int:
        """Return the largest estimate of a job that this worker takes."""
        return int(MARGIN * self.total_bytes)

    @property
    def taken(self) -> Mapping[HeldAttempt, int]:
        """The bytes that each job has reserved."""
        return dict(self._taken)

    def resident_bytes(self, gpus: Sequence[int] = ()) -> int:
        """Return how many bytes the images of one job may take; larger ones are read from their file batch by batch.

        Args:
            gpus: bytes of each of the job's GPUs; each GPU holds all images.
        """
        return int(min([self.slot_bytes, *gpus]) * RESIDENT_SHARE)

    def take(self, held: HeldAttempt, memory_bytes: int) -> None:
        """Reserve memory for a job that was just claimed; if its need is unknown, it takes a place but no bytes."""
        self._taken[held] = memory_bytes

    def is_alone(self, held: HeldAttempt) -> bool:
        """Return whether no other job has a reservation."""
        return not self._taken.keys() - {held}

    def give_back(self, held: HeldAttempt) -> None:
        self._taken.pop(held, None)


class Gpus:
    """A GPU has one job at a time; more jobs than that run on the processor or wait."""

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self.all = tuple(gpus)
        self._taken: dict[HeldAttempt, tuple[Gpu, ...]] = {}

    @property
    def free(self) -> tuple[Gpu, ...]:
        """Return the GPUs that no job has."""
        taken = {gpu for gpus in self._taken.values() for gpu in gpus}
        return tuple(gpu for gpu in self.all if gpu not in taken)

    def take(self, held: HeldAttempt, gpus: Sequence[Gpu]) -> None:
        """Reserve these for a job that was just claimed."""
        self._taken[held] = tuple(gpus)

    def of(self, held: HeldAttempt) -> tuple[Gpu, ...]:
        """Return the GPUs that a job has."""
        return self._taken.get(held, ())

    def give_back(self, held: HeldAttempt) -> None:
        """Free the GPUs of a job that has ended."""
        self._taken.pop(held, None)


class ChecksInSlots:
    """Lets checks of data take only part of the slots, so that trainings need not wait for many slow uploads.

    A worker with one slot gives it to checks too: otherwise they would never run.
    """

    def __init__(self, slots: int) -> None:
        self._most = count_checks_at_once(slots)
        self._running: set[HeldAttempt] = set()

    @property
    def kinds(self) -> tuple[JobKind, ...]:
        """Return the kinds of work that may take a slot now."""
        return KINDS_IN_SLOTS if len(self._running) < self._most else KINDS_BUT_CHECKS

    def begin(self, claimed: Claimed) -> None:
        """Count a job that was just claimed."""
        if claimed.kind in CHECKS_IN_SLOTS:
            self._running.add(claimed.held)

    def end(self, claimed: Claimed) -> None:
        """Free the slot of a job that has ended."""
        self._running.discard(claimed.held)


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
