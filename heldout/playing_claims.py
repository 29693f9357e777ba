"""When a queued job starts: the claims before it, played through by the rule of heldout/fair_share.py. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heapify, heappop, heappush
from math import inf
from statistics import mean

from heldout.fair_share import CLAIM_CHARGE_S, Standing, charge_at_end, charge_while_running, charged, turn_of
from heldout.queueing import ASSUMED_RUNTIME_S

# So many times a running job is looked at; what comes after the claims until then goes on at the same pace.
MAX_STEPS = 20_000


@dataclass(frozen=True)
class OwnersQueue:
    """What one owner waits for: so many `jobs`, of which the first to be claimed take `durations_s`.

    Those after them take as long as these on average.

    Args:
        most_running: how many of its jobs may run at once; None for any number.
        held_s: seconds until any of them may begin: its slot-seconds of the day are used up.
    """

    standing: Standing
    jobs: int
    durations_s: Sequence[float] = ()
    most_running: int | None = None
    held_s: float = 0.0

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
        None if there is no slot, since it is unknown when a worker will start; or if the owner may have no running job.
    """
    if not running and not slots:
        return None
    claims, free = _Claims(running, queues, now_s), max(0, slots - len(running))
    own, steps, at_s = queues[owner], 0, 0.0
    while steps < MAX_STEPS:
        taker = claims.next_owner(owner, at_s) if free else None
        if taker is None:
            let_go_s = claims.next_let_go_s(at_s)
            if let_go_s < claims.next_end_s():
                at_s = let_go_s
            elif claims.running:
                at_s, free = claims.until_next_end(), free + 1
            else:
                return None
            continue
        if taker == owner and claims.done[owner] == own.jobs:
            return at_s
        claims.claim(taker, at_s)
        free -= 1
        steps += len(claims.running)
    return max(own.held_s, at_s * (own.jobs + 1) / (claims.done[owner] + 1))


class _Claims:
    """Slots and queues while claims are played: who has which place in the order of turns."""

    def __init__(self, running: Sequence[RunningJob], queues: Mapping[str, OwnersQueue], now_s: float) -> None:
        self.running = [RunningJob(one.ends_s, one.begins_s, one.owner, one.charged_s) for one in running]
        heapify(self.running)
        self.done = dict.fromkeys(queues, 0)
        self._running_of = Counter(one.owner for one in running)
        self._queues = queues
        self._now_s = now_s
        self._standings = {owner: queue.standing for owner, queue in queues.items()}
        self._turns = [(turn_of(standing), owner) for owner, standing in self._standings.items()]
        heapify(self._turns)

    def next_owner(self, waiting: str, at_s: float) -> str | None:
        """Whose turn it is among those whose jobs may begin; `waiting` has always one more job than its queue says."""
        passed_over, found = [], None
        while self._turns and found is None:
            turn, owner = self._turns[0]
            is_empty = owner != waiting and self.done[owner] == self._queues[owner].jobs
            if is_empty or turn != turn_of(self._standings[owner]):
                heappop(self._turns)  # it has changed since, or has nothing that waits
            elif self._may_begin(owner, at_s):
                found = owner
            else:
                passed_over.append(heappop(self._turns))
        for one in passed_over:
            heappush(self._turns, one)
        return found

    def _may_begin(self, owner: str, at_s: float) -> bool:
        queue = self._queues[owner]
        has_place = queue.most_running is None or self._running_of[owner] < queue.most_running
        return has_place and queue.held_s <= at_s

    def next_end_s(self) -> float:
        """When the next job ends; never if none runs."""
        return self.running[0].ends_s if self.running else inf

    def next_let_go_s(self, at_s: float) -> float:
        """When the next of the owners that are held may begin jobs; never if none is held."""
        return min((one.held_s for one in self._queues.values() if one.held_s > at_s), default=inf)

    def claim(self, owner: str, at_s: float) -> None:
        duration_s = self._queues[owner].duration_s(self.done[owner])
        heappush(self.running, RunningJob(at_s + duration_s, at_s, owner))
        self.done[owner] += 1
        self._running_of[owner] += 1
        self._charge(owner, CLAIM_CHARGE_S, at_s)

    def until_next_end(self) -> float:
        """Let time pass until a job ends, whose slot is free then; gives that moment."""
        ended = heappop(self.running)
        self._running_of[ended.owner] -= 1
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
