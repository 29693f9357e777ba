"""Detects that a client has disconnected, so that long work for it can stop."""

import asyncio
from collections.abc import Callable
from typing import Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive

# Logged and counted as the status when a client does not wait for its answer.
STATUS_OF_LEFT = 499
# Most answers take less time, and watching costs a tenth of the smallest ones.
WATCH_AFTER_S = 0.5


class DisconnectWatcher:
    """Watches whether the client of one request disconnects."""

    def __init__(self, receive: Receive, on_leave: Callable[[], object] = lambda: None) -> None:
        """on_leave: called in the event loop once the client has disconnected."""
        self._receive = receive
        self._on_leave = on_leave
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None
        self.has_left = False

    def begin(self) -> None:
        """Start watching. The request's body must have been received."""
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._watch)

    def end(self) -> None:
        """Stop watching. May be called without `begin`."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def require_client(self) -> None:
        """Raise ClientDisconnect if the client has disconnected. Safe to call from another thread."""
        if self.has_left:
            raise ClientDisconnect

    def _watch(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.has_left = True
        self._on_leave()
