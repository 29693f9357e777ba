"""The GPUs of a worker: which are free, and which job has the others."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from models.store.claims import HeldAttempt
from worker.machine.devices import Gpu


class Gpus:
    """A GPU has one job at a time; more jobs than that run on the processor or wait."""

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self.all = tuple(gpus)
        self._taken: dict[HeldAttempt, tuple[Gpu, ...]] = {}
        self._claiming = threading.Lock()

    @property
    def free(self) -> tuple[Gpu, ...]:
        """The GPUs that no job has."""
        taken = {gpu for gpus in self._taken.values() for gpu in gpus}
        return tuple(gpu for gpu in self.all if gpu not in taken)

    @contextmanager
    def claiming(self) -> Iterator[tuple[Gpu, ...]]:
        """The free GPUs; no other thread can claim a job that would take them while the block runs."""
        if not self.all:
            yield ()
            return
        with self._claiming:
            yield self.free

    def take(self, held: HeldAttempt, gpus: Sequence[Gpu]) -> None:
        """Reserve these for a job that was just claimed."""
        self._taken[held] = tuple(gpus)

    def of(self, held: HeldAttempt) -> tuple[Gpu, ...]:
        """The GPUs that a job has."""
        return self._taken.get(held, ())

    def give_back(self, held: HeldAttempt) -> None:
        """Free the GPUs of a job that has ended."""
        self._taken.pop(held, None)
