"""Shares a limited number of concurrent turns fairly among groups, and places for open uploads and streams.

Groups are owners or clients. Waiting groups are served in turn, so a group with many requests does not delay the
others. The places are counted in the database across all API processes.
"""

import asyncio
from asyncio import Future
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from heldout.access.rights import Quota
from heldout.errors import DatabaseUnavailable, QuotaExceeded
from models.database import Database, Session
from models.store import places
from models.store.places import SharedPlace


@dataclass(eq=False, slots=True)
class _Waiting:
    """A turn that was asked for. `granted` is done once it is granted, or if its request was cancelled."""

    size: int
    granted: Future[None]


class Turns:
    """Grants turns, those of a group in order. Used on the event loop's thread only."""

    def __init__(self, at_once: int, longest_s: float | None = None, per_group: int | None = None) -> None:
        """
        Args:
            at_once: how many turns run at once, or the sum of their sizes.
            longest_s: a turn ends automatically after this time. None: never.
            per_group: how many turns one group may have at once. None: all of them.
        """
        self._free = at_once
        self._longest_s = longest_s
        self._per_group = at_once if per_group is None else per_group
        self._running: Counter[Hashable] = Counter()
        # The first group is served next.
        self._queues: OrderedDict[Hashable, deque[_Waiting]] = OrderedDict()

    async def take(self, group: Hashable, size: int = 1) -> "Turn":
        """Wait for a turn. group: the owner or client that needs it."""
        waiting = _Waiting(size, asyncio.get_running_loop().create_future())
        self._queues.setdefault(group, deque()).append(waiting)
        self._grant()
        await self._wait_for(waiting, group)
        return Turn(self, group, size, self._longest_s)

    async def take_again(self, group: Hashable, size: int) -> None:
        """Give up a turn to the next group, and wait for a new turn ahead of the group's other work."""
        waiting = _Waiting(size, asyncio.get_running_loop().create_future())
        self._queues.setdefault(group, deque()).appendleft(waiting)
        self.give_back(group, size)
        await self._wait_for(waiting, group)

    async def _wait_for(self, waiting: _Waiting, group: Hashable) -> None:
        try:
            await waiting.granted
        except asyncio.CancelledError:
            if waiting.granted.cancelled():
                self._grant()  # those behind it may need less
            else:
                self.give_back(group, waiting.size)
            raise

    @asynccontextmanager
    async def taken(self, group: Hashable, size: int = 1) -> AsyncIterator["Turn"]:
        """Hold a turn while the block runs."""
        turn = await self.take(group, size)
        try:
            yield turn
        finally:
            turn.end()

    def give_back(self, group: Hashable, size: int) -> None:
        """Hand the turn that a group has ended to the next waiting group."""
        self._free += size
        self._running[group] -= size
        if not self._running[group]:
            del self._running[group]
        self._grant()

    def _grant(self) -> None:
        """Grant turns while there is room for the next one. A large one is not passed, or it might wait forever."""
        while (group := next(filter(self._may_have_next, self._queues), None)) is not None:
            first = self._queues[group][0]
            is_wanted = not first.granted.done()
            if is_wanted and first.size > self._free:
                return
            queue = self._queues[group]
            queue.popleft()
            if not queue:
                del self._queues[group]
            elif is_wanted:  # one that was cancelled does not cost its group the turn
                self._queues.move_to_end(group)
            if is_wanted:
                self._free -= first.size
                self._running[group] += first.size
                first.granted.set_result(None)

    def _may_have_next(self, group: Hashable) -> bool:
        first = self._queues[group][0]
        return first.granted.done() or self._running[group] + first.size <= self._per_group


class Turn:
    """One turn. It ends automatically after its longest time."""

    def __init__(self, turns: Turns, group: Hashable, size: int, longest_s: float | None) -> None:
        self._turns: Turns | None = turns
        self._group = group
        self._size = size
        self._timer = None if longest_s is None else asyncio.get_running_loop().call_later(longest_s, self.end)

    def end(self, rest_s: float = 0) -> None:
        """End the turn after a rest, unless it has ended already."""
        if self._turns is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        turns, self._turns = self._turns, None
        if rest_s:
            asyncio.get_running_loop().call_later(rest_s, turns.give_back, self._group, self._size)
        else:
            turns.give_back(self._group, self._size)

    async def give_way(self) -> None:
        """Let waiting groups go first, and continue after them."""
        if (turns := self._turns) is not None:
            self._turns = None  # while waiting for the next turn
            await turns.take_again(self._group, self._size)
            self._turns = turns


RENEW_EVERY_S = places.LEASE_S / 3
# When a client without a place may retry. The end of an upload or stream cannot be predicted.
RETRY_AFTER_S = 5
# Writers of an SQLite file wait for each other, so more threads would only be unavailable to other requests.
TAKEN_AT_ONCE = 2


class SharedPlaces:
    """The places that this process holds. Used in one event loop; `run` renews the places."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, SharedPlace] = {}
        self._ended: list[SharedPlace] = []
        self._takers = CapacityLimiter(TAKEN_AT_ONCE)
        # A renewal restores lost places, so it must not run while one of its places is given back.
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def taken(self, quota: Quota, owner: str) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        Raises:
            QuotaExceeded, DatabaseUnavailable.
            OwnerSuspended: for an upload.
        """
        place = await run_sync(self._take, quota, owner, limiter=self._takers)
        self._held[place.id] = place
        try:
            yield
        finally:
            del self._held[place.id]
            await self._give_back(place)

    async def run(self) -> None:
        """Renew the places of this process until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            async with self._writing:
                if self._held:
                    with suppress(DatabaseUnavailable):  # places are renewed once it is back
                        await run_sync(self._write, places.renew, list(self._held.values()))

    async def _give_back(self, place: SharedPlace) -> None:
        """Give back in batches, because a service that stops ends all its streams at once."""
        self._ended.append(place)
        async with self._writing:
            ended, self._ended = self._ended, []
            if ended:
                with suppress(DatabaseUnavailable):  # without renewal, they expire
                    await run_sync(self._write, places.give_back, ended)

    def _take(self, quota: Quota, owner: str) -> SharedPlace:
        try:
            with self._database.write() as session:
                return places.take(session, quota, owner)
        except QuotaExceeded as error:
            error.headers["Retry-After"] = str(RETRY_AFTER_S)
            raise

    def _write(self, change: Callable[[Session, list[SharedPlace]], None], changed: list[SharedPlace]) -> None:
        with self._database.write() as session:
            change(session, changed)
