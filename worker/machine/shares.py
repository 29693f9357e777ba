"""How the jobs of a worker share its GPUs, memory and slots, and when it makes room for a large one.

None of this is locked: a worker claims one job at a time, and jobs that end only take themselves out.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from analysis.scheduling.fair_share import Resources, compute_left_beside, count_checks_at_once, is_held_up
from heldout.work.kinds import CHECKS_IN_SLOTS, KINDS_IN_SLOTS, JobKind
from heldout.work.memory import MARGIN, RESIDENT_SHARE
from models.database import Database
from models.store import claims
from models.store.claims import Capacity, HeldAttempt, WaitingJob
from worker.machine.devices import Gpu, list_claimable_devices

KINDS_BUT_CHECKS = tuple(kind for kind in KINDS_IN_SLOTS if kind not in CHECKS_IN_SLOTS)


@dataclass(frozen=True)
class Share:
    """What one job has.

    check_of: the owner whose data it checks; None if it is not a check. in_slot: whether it has a slot.
    """

    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()
    check_of: str | None = None
    in_slot: bool = True


class Shares:
    """What the jobs of a worker have of its memory, GPUs and slots: from their claims to the ends of their attempts.

    A GPU has one job at a time; more jobs than that run on the processor or wait. Checks of data take only part of the
    slots, so that trainings need not wait for many slow uploads. A worker with one slot gives it to checks too:
    otherwise they would never run.

    Owners take turns for places of checks, whatever else they use: one who has had a place gets the next after all
    others.
    """

    def __init__(self, total_bytes: int, slots: int = 1, gpus: Sequence[Gpu] = ()) -> None:
        self.total_bytes = total_bytes
        self.slot_bytes = total_bytes // slots
        self.gpus = tuple(gpus)
        self._slots = slots
        self._most_checks = count_checks_at_once(slots)
        self._taken: dict[HeldAttempt, Share] = {}
        self._served: set[str] = set()

    @property
    def total(self) -> Resources:
        return Resources(self.total_bytes, len(self.gpus))

    @property
    def free(self) -> Resources:
        """Return what a job claimed now may need.

        A worker without jobs takes any job that could fit if the estimate had its largest error.
        """
        taken_bytes = sum(share.memory_bytes for share in self._list_shares())
        free_bytes = max(0, self.total_bytes - taken_bytes) if self._taken else self.most_bytes
        return Resources(free_bytes, len(self.free_gpus))

    @property
    def most_bytes(self) -> int:
        """Return the largest estimate of a job that this worker takes."""
        return int(MARGIN * self.total_bytes)

    @property
    def free_gpus(self) -> tuple[Gpu, ...]:
        """Return the GPUs that no job has."""
        taken = {gpu for share in self._list_shares() for gpu in share.gpus}
        return tuple(gpu for gpu in self.gpus if gpu not in taken)

    @property
    def kinds(self) -> tuple[JobKind, ...]:
        """Return the kinds of work that may take a slot now."""
        checks = sum(share.in_slot and share.check_of is not None for share in self._list_shares())
        return KINDS_IN_SLOTS if checks < self._most_checks else KINDS_BUT_CHECKS

    @property
    def served(self) -> frozenset[str]:
        """Return the owners who have had a place of checks since all others who waited for one had theirs."""
        return frozenset(self._served)

    def begin_round(self) -> None:
        """Note that no other owner waits for a place of checks. Owners whose checks still run have had theirs."""
        self._served = {share.check_of for share in self._list_shares() if share.check_of is not None}

    @property
    def takes_checks(self) -> bool:
        """Return whether a check that is queued now would get a slot."""
        return self.kinds is KINDS_IN_SLOTS and sum(share.in_slot for share in self._list_shares()) < self._slots

    @property
    def holders(self) -> frozenset[HeldAttempt]:
        """Return the attempts at jobs that have a share."""
        return frozenset(self._taken)

    def resident_bytes(self, gpus: Sequence[int] = ()) -> int:
        """Return how many bytes the images of one job may take; larger ones are read from their file batch by batch.

        Args:
            gpus: bytes of each of the job's GPUs; each GPU holds all images.
        """
        return int(min([self.slot_bytes, *gpus]) * RESIDENT_SHARE)

    def take(self, held: HeldAttempt, share: Share) -> None:
        """Reserve a share for a job that was just claimed; if its memory is unknown, it takes a place but no bytes."""
        self._taken[held] = share
        if share.check_of is not None:
            self._served.add(share.check_of)

    def get_gpus(self, held: HeldAttempt) -> tuple[Gpu, ...]:
        """Return the GPUs that a job has."""
        share = self._taken.get(held)
        return () if share is None else share.gpus

    def sum_taken(self, attempts: Collection[HeldAttempt]) -> Resources:
        """Return what these attempts have together."""
        shares = [share for held, share in self._taken.copy().items() if held in attempts]
        return Resources(sum(share.memory_bytes for share in shares), sum(len(share.gpus) for share in shares))

    def is_alone(self, held: HeldAttempt) -> bool:
        """Return whether no other job has a share."""
        return not self._taken.keys() - {held}

    def give_back(self, held: HeldAttempt) -> None:
        """Free the share of a job that has ended."""
        self._taken.pop(held, None)

    def _list_shares(self) -> list[Share]:
        """Return a copy, because the threads of other jobs may give theirs back meanwhile."""
        return list(self._taken.values())


log = structlog.get_logger()

# How often a worker with jobs checks which job is next, and reports that it still makes room.
LOOK_EVERY_S = 5.0
# Another worker may make room instead if this one has not reported for this long.
ROOM_LEASE_S = 30.0


class RoomForLargeJob:
    """Makes room for one job at a time, and for each job on one worker. Called by the thread that claims."""

    def __init__(self, database: Database, worker: str, shares: Shares) -> None:
        self._database = database
        self._worker = worker
        self._shares = shares
        self._job: WaitingJob | None = None
        self._ran_before: frozenset[HeldAttempt] = frozenset()
        self._looked_at: float | None = None

    def compute_left(self, kinds: Collection[JobKind]) -> Resources | None:
        """Return how much of the free resources may be claimed; None if nothing. Checks the queue from time to time.

        Raises:
            DatabaseUnavailable.
        """
        if not self._shares.holders:  # nothing to wait for: any job that fits is claimed
            self._job = None
            return self._shares.free
        now = time.monotonic()
        if self._looked_at is None or now - self._looked_at >= LOOK_EVERY_S:
            self._look(kinds)
            self._looked_at = now
        return self.compute_left_now()

    def compute_left_now(self) -> Resources | None:
        """Return the same as of the last check."""
        free = self._shares.free
        if self._job is None or free.holds(self._job.needs):
            return free
        begun_since = self._shares.sum_taken(self._shares.holders - self._ran_before)
        return compute_left_beside(self._job.needs, self._shares.total, free, begun_since)

    def look_again(self) -> None:
        """Note that a job was claimed: another may be next now."""
        self._looked_at = None

    def _look(self, kinds: Collection[JobKind]) -> None:
        shares, gpus = self._shares, len(self._shares.gpus)
        with self._database.read() as session:
            whole = Capacity(list_claimable_devices(gpus), gpus, kinds, shares.most_bytes)
            first = claims.find_first_in_line(session, whole)
        if (
            first is None
            or not is_held_up(first.needs, shares.free, first.waited_s)
            or not self._may_make_room(first.job_id)
        ):
            self._job = None
            return
        if self._job is None or self._job.job_id != first.job_id:
            self._ran_before = shares.holders
            log.info("makes_room", job_id=first.job_id, memory_bytes=first.needs.memory_bytes, gpus=first.needs.gpus)
        self._job = first

    def _may_make_room(self, job_id: str) -> bool:
        with self._database.write() as session:
            return claims.make_room(session, job_id, self._worker, ROOM_LEASE_S)
