"""The memory of a worker: which jobs have how much of it, and what is free."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from heldout.work.memory import MARGIN, RESIDENT_SHARE
from models.store.claims import HeldAttempt


class MemoryBudget:
    """Reserved when a job is claimed, as GPUs are, and given back when its attempt ends."""

    def __init__(self, total_bytes: int, slots: int = 1) -> None:
        self.total_bytes = total_bytes
        self.slot_bytes = total_bytes // slots
        self._taken: dict[HeldAttempt, int] = {}
        self._claiming = threading.Lock()

    @contextmanager
    def claiming(self) -> Iterator[int]:
        """The bytes that a job may need which is claimed now; no other thread claims one while the block runs.

        A worker without jobs takes what it could hold if the estimate were as far off as it can be.
        """
        with self._claiming:
            taken = sum(self._taken.values())
            yield max(0, self.total_bytes - taken) if self._taken else self.most_bytes

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
