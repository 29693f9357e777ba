"""The HTTP server around the app."""

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from heldout.settings import Settings


class Server(uvicorn.Server):
    """uvicorn with our logs instead of its own. Before it stops, it answers clients that wait for a change."""

    def __init__(self, app: FastAPI, **config: Any) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, server_header=False, **config))
        self._hub = app.state.context.hub

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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if not self.should_exit:
            self._on_listening()
