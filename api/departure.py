"""Notices that a client has left: what takes long need not go on for nobody."""

import asyncio
from collections.abc import Callable
from typing import Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive

# What is logged and counted where a client does not wait for its answer.
STATUS_OF_LEFT = 499
# Most answers are there sooner, and to look costs as much as a tenth of the smallest ones.
LOOK_AFTER_S = 0.5


class DisconnectWatcher:
    """Whether the client of one request has left."""

    def __init__(self, receive: Receive, on_leave: Callable[[], object] = lambda: None) -> None:
        """on_leave: called in the event loop once the client has left."""
        self._receive = receive
        self._on_leave = on_leave
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self.has_left = False

    def begin(self) -> None:
        """Look from now on. The request's body must be whole."""
        self._timer = asyncio.get_running_loop().call_later(LOOK_AFTER_S, self._look)

    def end(self) -> None:
        """Look no more; also where it has not begun."""
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def require_client(self) -> None:
        """Raises ClientDisconnect. Safe in a thread."""
        if self.has_left:
            raise ClientDisconnect

    def _look(self) -> None:
        self._looking = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.has_left = True
        self._on_leave()
