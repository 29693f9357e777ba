"""The HTTP server around an app: uvicorn with our own connection limits, deadlines and logs."""

import asyncio
import ctypes
import resource
import socket
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp, Scope

from api.connections.places import PLACES_FOR_PROBES, ConnectionLimits, ConnectionPlaces
from api.connections.protocol import GuardedProtocol
from api.turns import Turns
from heldout.service.settings import Settings

log = structlog.get_logger("heldout.api")

# Files the process opens besides its clients' connections: database, blob store, logs, and up to 256 connections to
# the processes that answer predictions.
OTHER_OPEN_FILES = 500
TICK_S = 1.0
# From <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


class Server(uvicorn.Server):
    """uvicorn with our own limits and logs. Before it stops, it answers clients that wait for a change."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        answer_waiting: Callable[[], None] = lambda: None,
        turns: Turns | None = None,
        group_of: Callable[[Scope], Hashable] | None = None,
        **config: Any,
    ) -> None:
        """
        Args:
            answer_waiting: called before the server stops, to answer clients that wait for a change.
            turns: lets clients take turns. None if the only client is trusted.
            group_of: tells who takes a turn for a request. None: the client of the connection.
        """
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(  # type: ignore[arg-type]
                    GuardedProtocol,
                    places=ConnectionPlaces(_choose_limits(settings)),
                    turns=turns,
                    group_of=group_of,
                    head_s=settings.head_timeout_s,
                    min_body_rate=settings.min_body_rate,
                ),
                ws="none",
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                log_config=None,
                access_log=False,
                server_header=False,
                **config,
            )
        )
        self._answer_waiting = answer_waiting
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exit_asked = asyncio.Event()

    async def main_loop(self) -> None:
        """Tick once a second instead of ten times: apart from `check`, a tick only updates the `Date` header.

        `handle_exit` and `ask_to_exit` wake the loop.
        """
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._exit_asked.wait(), TICK_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._wake()

    def ask_to_exit(self) -> None:
        """Stop the server now. Safe to call from another thread."""
        self.should_exit = True
        self._wake()

    def _wake(self) -> None:
        """Wake the main loop. Safe to call from a signal handler."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._exit_asked.set)

    async def on_tick(self, counter: int) -> bool:
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            assert isinstance(connection, GuardedProtocol)
            connection.check(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._answer_waiting()
        await super().shutdown(sockets)


def _choose_limits(settings: Settings) -> ConnectionLimits:
    """Take the limits of the settings, lowered to the open files that the system allows this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_connections + PLACES_FOR_PROBES + OTHER_OPEN_FILES
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    in_all = settings.max_connections - (needed - allowed)
    if in_all < settings.max_connections:
        log.warning("fewer_connections", wanted=settings.max_connections, allowed=in_all, open_files=allowed)
    return ConnectionLimits(max(1, in_all), settings.max_connections_per_address, settings.trusted_proxies)


def limit_allocator() -> None:
    """Let threads share two heaps, and return large blocks to the system as soon as they are freed.

    By default each thread may get its own heap, and freeing a large block raises the size from which blocks are
    returned at once. After a wave of large bodies, the process would keep hundreds of megabytes. Only glibc has these
    options; on others, such as musl, this does nothing.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, 128 * 1024)
        mallopt(_M_TRIM_THRESHOLD, 1024 * 1024)
