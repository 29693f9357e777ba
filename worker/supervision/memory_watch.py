"""What the process of an attempt has of memory, and how the attempt ends where the kernel kills it for that."""

import signal
import time

from heldout.lifecycle.job import FailureCode
from heldout.work.memory import MemoryKill
from models.store import claims
from models.store.claims import Claimed
from worker.machine.memory import memory_kills, peak_bytes
from worker.machine.memory_budget import MemoryBudget
from worker.supervision.lease import AttemptLease

# How often a process is asked how much memory it has had. What comes between is not known once it is dead.
LOOK_EVERY_S = 0.1


class MemoryWatch:
    """Of one attempt. `begin` before its process starts, `look` while it runs, `kill_of` once it is dead."""

    def __init__(self, budget: MemoryBudget, claimed: Claimed) -> None:
        self._budget = budget
        self._held = claimed.held
        self._reserved_bytes = claimed.needs.memory_bytes or budget.slot_bytes
        self._kills_before = 0
        self._peak_bytes = 0
        self._looked_at = 0.0
        self._is_alone = False

    def begin(self) -> None:
        self._kills_before, self._peak_bytes = memory_kills(), 0
        self._is_alone = self._budget.is_alone(self._held)

    def look(self, pid: int) -> None:
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._peak_bytes = max(self._peak_bytes, peak_bytes(pid))
            # Not asked at the end: the kernel may kill two at once, and the other job may have been settled by then.
            self._is_alone = self._budget.is_alone(self._held)

    def kill_of(self, exit_code: int | None) -> MemoryKill | None:
        """How the process was killed for memory; None where it ended otherwise."""
        if exit_code != -signal.SIGKILL or memory_kills() <= self._kills_before:
            return None
        return MemoryKill(self._peak_bytes, self._reserved_bytes, is_alone=self._is_alone)


def settle_kill(
    lease: AttemptLease,
    kill: MemoryKill,
    total_bytes: int,
    *,
    what: str = "The training",
    remedy: str = "Use a smaller batch_size or fewer filters.",
) -> None:
    """Fail the job that took more memory than was reserved for it; queue any other again, and count no failure."""
    if kill.is_cause:
        lease.fail(FailureCode.OUT_OF_MEMORY, told_of_cause(kill, what, remedy))
        return
    detail = f"{what} was killed because memory ran out, by another job's fault. {_took(kill)}"
    next_bytes = kill.next_reservation(total_bytes)
    lease.settle(lambda session: claims.give_way(session, lease.held, detail, memory_bytes=next_bytes))


def told_of_cause(kill: MemoryKill, what: str, remedy: str) -> str:
    """What the owner of a job is told that took more memory than was reserved for it."""
    return f"{what} was killed because memory ran out. {_took(kill)} {remedy}".rstrip()


def _took(kill: MemoryKill) -> str:
    return f"It had {_amount(kill.peak_bytes)} when last seen; {_amount(kill.reserved_bytes)} were reserved for it."


def _amount(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"
