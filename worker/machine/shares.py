"""How the jobs of a worker share its GPUs, memory and slots, and how many of them are checks.

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
