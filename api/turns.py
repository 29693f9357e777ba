"""Whose work is done next where only some can be done at once: whoever asks for it takes turns, by owner or client.

Groups that wait are served in turn, so a group with many requests does not hold up the others.
"""

import asyncio
from asyncio import Future
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """For one thread: the event loop's."""

    def __init__(self, at_once: int, longest_s: float | None = None, per_group: int | None = None) -> None:
        """
        Args:
            longest_s: after which a turn ends by itself; None: never.
            per_group: how many turns one group may have at once; None: all of them.
        """
        self._free = at_once
        self._longest_s = longest_s
        self._per_group = at_once if per_group is None else per_group
        self._running: Counter[Hashable] = Counter()
        # The group whose turn comes next is the first one.
        self._queues: OrderedDict[Hashable, deque[Future[None]]] = OrderedDict()

    async def take(self, group: Hashable) -> "Turn":
        """Wait for a turn. group: whose work it is."""
        if self._free and self._may_have_more(group):
            self._free -= 1
            self._running[group] += 1
        else:
            granted: Future[None] = asyncio.get_running_loop().create_future()
            self._queues.setdefault(group, deque()).append(granted)
            await self._wait_until(granted, group)
        return Turn(self, group, self._longest_s)

    async def take_again(self, group: Hashable) -> None:
        """Give a turn to the next group that waits, and wait for another before the group's other work does."""
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
        """A turn for as long as the block runs."""
        turn = await self.take(group)
        try:
            yield turn
        finally:
            turn.end()

    def pass_on(self, ended: Hashable) -> None:
        """Give a turn of a group that has ended to the next group that waits."""
        self._running[ended] -= 1
        if not self._running[ended]:
            del self._running[ended]
        while (group := next(filter(self._may_have_more, self._queues), None)) is not None:
            queue = self._queues.pop(group)
            granted = queue.popleft()
            if queue:
                self._queues[group] = queue
            if not granted.done():  # else its request is gone
                self._running[group] += 1
                granted.set_result(None)
                return
        self._free += 1

    def _may_have_more(self, group: Hashable) -> bool:
        return self._running[group] < self._per_group


class Turn:
    """One turn. It ends by itself after its longest time."""

    def __init__(self, turns: Turns, group: Hashable, longest_s: float | None) -> None:
        self._turns: Turns | None = turns
        self._group = group
        self._timer = None if longest_s is None else asyncio.get_running_loop().call_later(longest_s, self.end)

    def end(self, rest_s: float = 0) -> None:
        """End it after a rest, if it has not ended before."""
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
        """Let other groups have their turn, if any waits, and go on after them."""
        if (turns := self._turns) is not None:
            self._turns = None  # until there is another one
            await turns.take_again(self._group)
            self._turns = turns
