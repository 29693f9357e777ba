"""The HTTP server around the app."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from heldout.settings import Settings

TICK_S = 1.0


class Server(uvicorn.Server):
    """uvicorn with our logs instead of its own. Before it stops, it answers clients that wait for a change."""

    def __init__(self, app: FastAPI, **config: Any) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, server_header=False, **config))
        self._hub = app.state.context.hub
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exit_asked = asyncio.Event()

    async def main_loop(self) -> None:
        """Turn as uvicorn's own loop does, but once a second: all that it has to do then is to set the header `Date`.

        Whoever asks the server to exit wakes it.
        """
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._exit_asked.wait(), TICK_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._wake()

    def _wake(self) -> None:
        """Let the loop turn at once; safe in a signal handler."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._exit_asked.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.stop()
        await super().shutdown(sockets)


class EmbeddedServer(Server):
    """The server inside `heldout up`: it leaves signals alone, and calls `on_listening` when it listens."""

    def __init__(self, settings: Settings, on_listening: Callable[[], None]) -> None:
        super().__init__(create_app(settings), timeout_graceful_shutdown=3, timeout_keep_alive=30)
        self._on_listening = on_listening

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator there
        """Leave signals to `heldout up`, which handles them before and after serving too."""
        return nullcontext()

    def ask_to_exit(self) -> None:
        self.should_exit = True
        self._wake()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if not self.should_exit:
            self._on_listening()
