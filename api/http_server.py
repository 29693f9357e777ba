"""The HTTP server of the API's app."""

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from fastapi import FastAPI

from api.app import create_app
from api.connections.protocol import LONGEST_TURN_S, TURNS_AT_ONCE
from api.connections.server import Server
from api.turns import Turns
from heldout.service.settings import Settings


class ApiServer(Server):
    """The server of an app that `create_app` has made."""

    def __init__(self, app: FastAPI, **config: Any) -> None:
        context = app.state.context
        super().__init__(app, context.settings, context.hub.stop, Turns(TURNS_AT_ONCE, LONGEST_TURN_S), **config)


class EmbeddedServer(ApiServer):
    """The server inside `heldout up`: it leaves signals alone, and calls `on_listening` when it listens."""

    def __init__(self, settings: Settings, on_listening: Callable[[], None]) -> None:
        super().__init__(create_app(settings), timeout_graceful_shutdown=3, timeout_keep_alive=30)
        self._on_listening = on_listening

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator there
        """Leave signals to `heldout up`, which handles them before and after serving too."""
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if not self.should_exit:
            self._on_listening()
