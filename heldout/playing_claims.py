"""When a queued job starts: the claims before it, played through by the rule of heldout/fair_share.py. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heapify, heappop, heappush
from statistics import mean

from heldout.fair_share import CLAIM_CHARGE_S, Standing, charge_at_end, charge_while_running, charged, turn_of
from heldout.queueing import ASSUMED_RUNTIME_S

# So many times a running job is looked at; what comes after the claims until then goes on at the same pace.
MAX_STEPS = 20_000


@dataclass(frozen=True)
class OwnersQueue:
    """What one owner waits for: so many `jobs`, of which the first to be claimed take `durations_s`.

    Those after them take as long as these on average.
    """

    standing: Standing
    jobs: int
    durations_s: Sequence[float] = ()

    def duration_s(self, place: int) -> float:
        """Seconds of the job at that place, from 0."""
        return self.durations_s[place] if place < len(self.durations_s) else self._usual_s

    @cached_property
    def _usual_s(self) -> float:
        return mean(self.durations_s) if self.durations_s else ASSUMED_RUNTIME_S


@dataclass(order=True)
class RunningJob:
    """A job in a slot: when it ends and when it began, in seconds from now, and how much of it was charged to whom."""

    ends_s: float
    begins_s: float = field(compare=False)
    owner: str = field(compare=False)
    charged_s: float = field(default=0.0, compare=False)


def seconds_until_start(
    running: Sequence[RunningJob], owner: str, queues: Mapping[str, OwnersQueue], *, slots: int = 0, now_s: float = 0.0
) -> float | None:
    """Seconds until a job starts in one of the slots that workers have.

    Args:
        owner: whose job it is; of this owner's queue `jobs` are claimed before it.
        queues: of all owners with jobs that wait, and of this one.
        slots: how many there are at least; those without a running job are free now.
        now_s: in seconds since 1970, as in the standings.
    Returns:
        None if there is no slot: it is unknown when a worker will start.
    """
    claims = _Claims(running, queues, now_s)
    if not running and not slots:
        return None
    free = max(0, slots - len(running))
    own, steps = queues[owner], 0
    at_s = 0.0 if free else claims.until_next_end()
    while steps < MAX_STEPS:
        taker = claims.next_owner(owner)
        if taker == owner and claims.done[owner] == own.jobs:
            return at_s
        claims.claim(taker, at_s)
        free = max(0, free - 1)
        steps += len(claims.running)
        if not free:
            at_s = claims.until_next_end()
    return at_s * (own.jobs + 1) / (claims.done[owner] + 1)


class _Claims:
    """Slots and queues while claims are played: who has which place in the order of turns."""

    def __init__(self, running: Sequence[RunningJob], queues: Mapping[str, OwnersQueue], now_s: float) -> None:
        self.running = [RunningJob(one.ends_s, one.begins_s, one.owner, one.charged_s) for one in running]
        heapify(self.running)
        self.done = dict.fromkeys(queues, 0)
        self._queues = queues
        self._now_s = now_s
        self._standings = {owner: queue.standing for owner, queue in queues.items()}
        self._turns = [(turn_of(standing), owner) for owner, standing in self._standings.items()]
        heapify(self._turns)

    def next_owner(self, waiting: str) -> str:
        """Whose turn it is; `waiting` has always one more job than its queue says."""
        while True:
            turn, owner = self._turns[0]
            is_empty = owner != waiting and self.done[owner] == self._queues[owner].jobs
            if not is_empty and turn == turn_of(self._standings[owner]):
                return owner
            heappop(self._turns)  # it has changed since, or has nothing that waits

    def claim(self, owner: str, at_s: float) -> None:
        duration_s = self._queues[owner].duration_s(self.done[owner])
        heappush(self.running, RunningJob(at_s + duration_s, at_s, owner))
        self.done[owner] += 1
        self._charge(owner, CLAIM_CHARGE_S, at_s)

    def until_next_end(self) -> float:
        """Let time pass until a job ends, whose slot is free then; gives that moment."""
        ended = heappop(self.running)
        at_s = max(0.0, ended.ends_s)
        self._charge(ended.owner, charge_at_end(ended.charged_s, at_s - ended.begins_s), at_s)
        for one in self.running:
            elapsed_s = at_s - one.begins_s
            self._charge(one.owner, charge_while_running(one.charged_s, elapsed_s), at_s)
            one.charged_s = elapsed_s
        return at_s

    def _charge(self, owner: str, slot_s: float, at_s: float) -> None:
        standing = self._standings.get(owner)
        if standing is not None and slot_s:
            self._standings[owner] = charged(standing, slot_s, self._now_s + at_s)
            heappush(self._turns, (turn_of(self._standings[owner]), owner))
