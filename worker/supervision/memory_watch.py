"""Watches the memory of an attempt's process, and whether the kernel killed it for lack of memory."""

import signal
import time

from heldout.work.memory import MemoryKill
from models.store.claims import Claimed
from worker.machine.memory import count_memory_kills, read_peak_bytes
from worker.machine.shares import MemoryBudget

# How often the peak memory of a process is read. Peaks after the last reading are lost once it is dead.
LOOK_EVERY_S = 0.1


class MemoryWatch:
    """The memory of one attempt's process.

    `begin` before it starts, `look` while it runs, `kill_of` once it is dead.
    """

    def __init__(self, budget: MemoryBudget, claimed: Claimed) -> None:
        self._budget = budget
        self._held = claimed.held
        self._reserved_bytes = claimed.needs.memory_bytes or budget.slot_bytes
        self._kills_before = 0
        self._peak_bytes = 0
        self._looked_at = 0.0
        self._is_alone = False

    def begin(self) -> None:
        self._kills_before, self._peak_bytes = count_memory_kills(), 0
        self._is_alone = self._budget.is_alone(self._held)

    def look(self, pid: int) -> None:
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._peak_bytes = max(self._peak_bytes, read_peak_bytes(pid))
            # Not read at the end: the kernel may kill two at once, and the other job may be settled by then.
            self._is_alone = self._budget.is_alone(self._held)

    def kill_of(self, exit_code: int | None) -> MemoryKill | None:
        """Return how the process was killed for memory; None if it ended otherwise."""
        if exit_code != -signal.SIGKILL or count_memory_kills() <= self._kills_before:
            return None
        return MemoryKill(self._peak_bytes, self._reserved_bytes, is_alone=self._is_alone)


def describe_cause(kill: MemoryKill, what: str, remedy: str) -> str:
    """Describe to the owner that a job took more memory than was reserved for it."""
    return f"{what} was killed because memory ran out. {describe_memory(kill)} {remedy}".rstrip()


def describe_memory(kill: MemoryKill) -> str:
    """Say how much memory the process had, and how much was reserved for it."""
    return (
        f"It had {_format_amount(kill.peak_bytes)} when last seen; {_format_amount(kill.reserved_bytes)} were reserved "
        "for it."
    )


def _format_amount(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"
