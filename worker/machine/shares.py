"""How the jobs of a worker share it: who has which GPUs and how much memory, and how many of them are checks.

None of this is locked: a worker claims one job at a time.
"""

from collections.abc import Mapping, Sequence

from analysis.scheduling.fair_share import count_checks_at_once
from heldout.work.kinds import CHECKS_IN_SLOTS, KINDS_IN_SLOTS, JobKind
from heldout.work.memory import MARGIN, RESIDENT_SHARE
from models.store.claims import Claimed, HeldAttempt
from worker.machine.devices import Gpu

KINDS_BUT_CHECKS = tuple(kind for kind in KINDS_IN_SLOTS if kind not in CHECKS_IN_SLOTS)


class MemoryBudget:
    """Reserved when a job is claimed, as GPUs are, and given back when its attempt ends."""

    def __init__(self, total_bytes: int, slots: int = 1) -> None:
        self.total_bytes = total_bytes
        self.slot_bytes = total_bytes // slots
        self._taken: dict[HeldAttempt, int] = {}

    @property
    def free_bytes(self) -> int:
        """The bytes that a job may need which is claimed now.

        A worker without jobs takes what it could hold if the estimate were as far off as it can be.
        """
        return max(0, self.total_bytes - sum(self._taken.values())) if self._taken else self.most_bytes

    @property
    def most_bytes(self) -> int:
        """The most that a job may be expected to need which this worker takes."""
        return int(MARGIN * self.total_bytes)

    @property
    def taken(self) -> Mapping[HeldAttempt, int]:
        """The bytes that each job has reserved."""
        return dict(self._taken)

    def resident_bytes(self, gpus: Sequence[int] = ()) -> int:
        """How many bytes the images of one job may take; more are read from their file batch by batch.

        Args:
            gpus: bytes of each of the job's GPUs, which hold all images each.
        """
        return int(min([self.slot_bytes, *gpus]) * RESIDENT_SHARE)

    def take(self, held: HeldAttempt, memory_bytes: int) -> None:
        """Reserve memory for a job that was just claimed; one whose need is not known takes a place, and no bytes."""
        self._taken[held] = memory_bytes

    def is_alone(self, held: HeldAttempt) -> bool:
        """Whether no other job has a reservation."""
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
        """The GPUs that no job has."""
        taken = {gpu for gpus in self._taken.values() for gpu in gpus}
        return tuple(gpu for gpu in self.all if gpu not in taken)

    def take(self, held: HeldAttempt, gpus: Sequence[Gpu]) -> None:
        """Reserve these for a job that was just claimed."""
        self._taken[held] = tuple(gpus)

    def of(self, held: HeldAttempt) -> tuple[Gpu, ...]:
        """The GPUs that a job has."""
        return self._taken.get(held, ())

    def give_back(self, held: HeldAttempt) -> None:
        """Free the GPUs of a job that has ended."""
        self._taken.pop(held, None)


class ChecksInSlots:
    """Lets checks of data take part of the slots only, so that trainings need not wait for many slow uploads.

    A worker with one slot gives it to checks too: they would never run else.
    """

    def __init__(self, slots: int) -> None:
        self._most = count_checks_at_once(slots)
        self._running: set[HeldAttempt] = set()

    @property
    def kinds(self) -> tuple[JobKind, ...]:
        """The kinds that may take a slot now."""
        return KINDS_IN_SLOTS if len(self._running) < self._most else KINDS_BUT_CHECKS

    def begin(self, claimed: Claimed) -> None:
        """Count a job that was just claimed."""
        if claimed.kind in CHECKS_IN_SLOTS:
            self._running.add(claimed.held)

    def end(self, claimed: Claimed) -> None:
        """Its slot is free."""
        self._running.discard(claimed.held)
