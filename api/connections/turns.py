"""Whose request is worked on next: clients take turns, so that one with many connections does not hold up others.

Requests are read and written by one thread, which those that ask the database must wait for again and again. So only
some are under way at once, the others wait, and of those each client's come in turn. One without a valid key takes
little; its turn lasts longer than it does, so that no number of strangers keeps that thread busy.
"""

import asyncio
from asyncio import Future
from collections import OrderedDict, deque

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.connections.waiting import Group
from api.http.known import KNOWN

AT_ONCE = 24
# A turn ends with the start of the answer, or after so long: what waits for its client or for a change is no work.
LONGEST_S = 0.2
# How much longer the turn of a request lasts that bears no valid key: AT_ONCE / 0.1 s are 240 of those a second.
STRANGERS_REST_S = 0.1


class Turns:
    """The turns of one server. For one thread: the event loop's."""

    def __init__(self, at_once: int = AT_ONCE, longest_s: float = LONGEST_S) -> None:
        self._free = at_once
        self._longest_s = longest_s
        # The client whose turn comes next is the first one.
        self._queues: OrderedDict[Group, deque[Future[None]]] = OrderedDict()

    async def take(self, group: Group) -> "Turn":
        """Wait for a turn. group: what the client is known by."""
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

    def pass_on(self) -> None:
        """Give a turn that has ended to the next client that waits."""
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

    def __init__(self, turns: Turns, longest_s: float) -> None:
        self._turns: Turns | None = turns
        self._timer = asyncio.get_running_loop().call_later(longest_s, self.end)

    def end(self, rest_s: float = 0) -> None:
        """End it after a rest, if it has not ended before."""
        if self._turns is None:
            return
        self._timer.cancel()
        turns, self._turns = self._turns, None
        if rest_s:
            asyncio.get_running_loop().call_later(rest_s, turns.pass_on)
        else:
            turns.pass_on()


def in_turn(app: ASGIApp, turns: Turns, group: Group) -> ASGIApp:
    """The app for the connections of one client."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        turn = await turns.take(group)

        def end() -> None:
            turn.end(0 if KNOWN in scope["state"] else STRANGERS_REST_S)

        async def send_and_end(message: Message) -> None:
            end()
            await send(message)

        try:
            await app(scope, receive, send_and_end)
        finally:
            end()

    return answer
