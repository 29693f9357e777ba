"""Lets checks of data take part of a worker's slots only, so that trainings need not wait for many slow uploads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from analysis.scheduling.fair_share import checks_at_once
from heldout.work.kinds import CHECKS_IN_SLOTS, KINDS_IN_SLOTS, JobKind
from models.store.claims import Claimed, HeldAttempt

KINDS_BUT_CHECKS = tuple(kind for kind in KINDS_IN_SLOTS if kind not in CHECKS_IN_SLOTS)


class ChecksInSlots:
    """Which of a worker's jobs are checks. A worker with one slot gives it to checks too: they would never run else."""

    def __init__(self, slots: int) -> None:
        self._most = checks_at_once(slots)
        self._running: set[HeldAttempt] = set()
        self._claiming = threading.Lock()

    @contextmanager
    def claiming(self) -> Iterator[tuple[JobKind, ...]]:
        """The kinds that may take a slot now; no other thread claims while the block runs."""
        with self._claiming:
            yield KINDS_IN_SLOTS if len(self._running) < self._most else KINDS_BUT_CHECKS

    def begin(self, claimed: Claimed) -> None:
        """Count a job that was just claimed."""
        if claimed.kind in CHECKS_IN_SLOTS:
            self._running.add(claimed.held)

    def end(self, claimed: Claimed) -> None:
        """Its slot is free."""
        self._running.discard(claimed.held)
