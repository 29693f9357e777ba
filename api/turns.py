"""Shares a limited number of concurrent turns fairly among groups, and places for open uploads and streams.

Groups are owners or clients. Waiting groups are served in turn, so a group with many requests does not delay the
others. The places are counted in the database across all API processes.
"""

import asyncio
from asyncio import Future
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from heldout.access.rights import Quota
from heldout.errors import DatabaseUnavailable, QuotaExceeded
from models.database import Database, Session
from models.store import places
from models.store.places import SharedPlace


class Turns:
    """Grants turns. Used on the event loop's thread only."""

    def __init__(self, at_once: int, longest_s: float | None = None, per_group: int | None = None) -> None:
        """
        Args:
            longest_s: a turn ends automatically after this time. None: never.
            per_group: how many turns one group may have at once. None: all of them.
        """
        self._free = at_once
        self._longest_s = longest_s
        self._per_group = at_once if per_group is None else per_group
        self._running: Counter[Hashable] = Counter()
        # The first group is served next.
        self._queues: OrderedDict[Hashable, deque[Future[None]]] = OrderedDict()

    async def take(self, group: Hashable) -> "Turn":
        """Wait for a turn. group: the owner or client that needs it."""
        if self._free and self._may_have_more(group):
            self._free -= 1
            self._running[group] += 1
        else:
            granted: Future[None] = asyncio.get_running_loop().create_future()
            self._queues.setdefault(group, deque()).append(granted)
            await self._wait_until(granted, group)
        return Turn(self, group, self._longest_s)

    async def take_again(self, group: Hashable) -> None:
        """Give up a turn to the next group, and wait for a new turn ahead of the group's other work."""
        granted: Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(group, deque()).appendleft(granted)
        self.pass_on(group)
        await self._wait_until(granted, group)

    async def _wait_until(self, granted: Future[None], group: Hashable) -> None:
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.pass_on(group)
            raise

    @asynccontextmanager
    async def taken(self, group: Hashable) -> AsyncIterator["Turn"]:
        """Hold a turn while the block runs."""
        turn = await self.take(group)
        try:
            yield turn
        finally:
            turn.end()

    def pass_on(self, ended: Hashable) -> None:
        """Hand the turn that a group has ended to the next waiting group."""
        self._running[ended] -= 1
        if not self._running[ended]:
            del self._running[ended]
        while (group := next(filter(self._may_have_more, self._queues), None)) is not None:
            queue = self._queues.pop(group)
            granted = queue.popleft()
            if queue:
                self._queues[group] = queue
            if not granted.done():  # otherwise its request was cancelled
                self._running[group] += 1
                granted.set_result(None)
                return
        self._free += 1

    def _may_have_more(self, group: Hashable) -> bool:
        return self._running[group] < self._per_group


class Turn:
    """One turn. It ends automatically after its longest time."""

    def __init__(self, turns: Turns, group: Hashable, longest_s: float | None) -> None:
        self._turns: Turns | None = turns
        self._group = group
        self._timer = None if longest_s is None else asyncio.get_running_loop().call_later(longest_s, self.end)

    def end(self, rest_s: float = 0) -> None:
        """End the turn after a rest, unless it has ended already."""
        if self._turns is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        turns, self._turns = self._turns, None
        if rest_s:
            asyncio.get_running_loop().call_later(rest_s, turns.pass_on, self._group)
        else:
            turns.pass_on(self._group)

    async def give_way(self) -> None:
        """Let waiting groups go first, and continue after them."""
        if (turns := self._turns) is not None:
            self._turns = None  # while waiting for the next turn
            await turns.take_again(self._group)
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
