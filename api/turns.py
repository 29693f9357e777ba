"""Whose work is done next where only some can be done at once: whoever asks for it takes turns, by owner or client.

Of those that wait, each group's come in turn, so that a group with many holds nobody else up.
"""

import asyncio
from asyncio import Future
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """For one thread: the event loop's."""

    def __init__(self, at_once: int, longest_s: float | None = None) -> None:
        """longest_s: after which a turn ends by itself; None: never."""
        self._free = at_once
        self._longest_s = longest_s
        # The group whose turn comes next is the first one.
        self._queues: OrderedDict[Hashable, deque[Future[None]]] = OrderedDict()

    async def take(self, group: Hashable) -> "Turn":
        """Wait for a turn. group: whose work it is."""
        if self._free:
            self._free -= 1
        else:
            granted: Future[None] = asyncio.get_running_loop().create_future()
            self._queues.setdefault(group, deque()).append(granted)
            try:
                await granted
            except asyncio.CancelledError:
                if granted.done() and not granted.cancelled():
                    self.pass_on()
                raise
        return Turn(self, self._longest_s)

    @asynccontextmanager
    async def taken(self, group: Hashable) -> AsyncIterator[None]:
        """A turn for as long as the block runs."""
        turn = await self.take(group)
        try:
            yield
        finally:
            turn.end()

    def pass_on(self) -> None:
        """Give a turn that has ended to the next group that waits."""
        while self._queues:
            group, queue = self._queues.popitem(last=False)
            granted = queue.popleft()
            if queue:
                self._queues[group] = queue
            if not granted.done():  # else its request is gone
                granted.set_result(None)
                return
        self._free += 1


class Turn:
    """One turn. It ends by itself after its longest time."""

    def __init__(self, turns: Turns, longest_s: float | None) -> None:
        self._turns: Turns | None = turns
        self._timer = None if longest_s is None else asyncio.get_running_loop().call_later(longest_s, self.end)

    def end(self, rest_s: float = 0) -> None:
        """End it after a rest, if it has not ended before."""
        if self._turns is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        turns, self._turns = self._turns, None
        if rest_s:
            asyncio.get_running_loop().call_later(rest_s, turns.pass_on)
        else:
            turns.pass_on()
