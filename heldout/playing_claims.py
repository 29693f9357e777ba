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
        taker = claims.next_owner(owner) if free else None
        if taker is None:
            next_s = min(claims.next_let_go_s(), claims.next_end_s())
            if next_s == inf:
                return None
            if next_s == claims.next_let_go_s():  # before a job that ends at the same moment, whose slot it may get
                at_s = claims.until_next_let_go()
            else:
                at_s, free = claims.until_next_end(), free + 1
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
        # Each of these is looked at only when it changes, however many owners there are.
        self._held = [(queue.held_s, owner) for owner, queue in queues.items() if queue.held_s > 0]
        heapify(self._held)
        self._held_owners = {owner for _, owner in self._held}
        self._at_bound: set[str] = set()
        self._turns = [(turn_of(self._standings[owner]), owner) for owner in queues if owner not in self._held_owners]
        heapify(self._turns)

    def next_owner(self, waiting: str) -> str | None:
        """Whose turn it is among those whose jobs may begin; `waiting` has always one more job than its queue says."""
        while self._turns:
            turn, owner = self._turns[0]
            queue = self._queues[owner]
            is_empty = owner != waiting and self.done[owner] == queue.jobs
            is_at_bound = queue.most_running is not None and self._running_of[owner] >= queue.most_running
            # A turn of before may have changed since.
            if not (is_empty or is_at_bound or owner in self._held_owners) and turn == turn_of(self._standings[owner]):
                return owner
            heappop(self._turns)
            if is_at_bound:
                self._at_bound.add(owner)
        return None

    def next_end_s(self) -> float:
        """When the next job ends; never if none runs."""
        return self.running[0].ends_s if self.running else inf

    def next_let_go_s(self) -> float:
        """When the next of the owners that are held may begin jobs; never if none is held."""
        return self._held[0][0] if self._held else inf

    def until_next_let_go(self) -> float:
        """Let time pass until owners are held no longer, most of them from the same moment on; gives that moment."""
        at_s = self.next_let_go_s()
        while self.next_let_go_s() <= at_s:
            _, owner = heappop(self._held)
            self._held_owners.discard(owner)
            self._queue_again(owner)
        return at_s

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
        if ended.owner in self._at_bound:
            self._at_bound.discard(ended.owner)
            self._queue_again(ended.owner)
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
            self._queue_again(owner)

    def _queue_again(self, owner: str) -> None:
        """Give an owner its turn, at the place where it stands now."""
        heappush(self._turns, (turn_of(self._standings[owner]), owner))
