"""Prometheus metrics at a port of their own, with the same limits for who connects as at the API's."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from anyio import CapacityLimiter, to_thread
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.connections.server import Server
from heldout.service.settings import Settings

MAX_CONNECTIONS = 100


@contextmanager
def metrics_served_apart(registry: CollectorRegistry, settings: Settings) -> Iterator[None]:
    """Serve the metrics while the block runs; not at all if there is no port for them. Raises OSError."""
    if settings.api_metrics_port is None:
        yield
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.api_metrics_port), family=family)
    limits = settings.model_copy(
        update={"max_connections": MAX_CONNECTIONS, "max_connections_per_address": MAX_CONNECTIONS}
    )
    server = Server(_app_of(registry), limits, lifespan="off", timeout_graceful_shutdown=1)
    thread = threading.Thread(target=server.run, args=([listener],), name="metrics")
    thread.start()
    try:
        yield
    finally:
        server.ask_to_exit()
        thread.join()


def _app_of(registry: CollectorRegistry) -> ASGIApp:
    # One at a time: each asks the database.
    scrapes = CapacityLimiter(1)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            answered = Response(status_code=405, headers={"Allow": "GET, HEAD"})
        else:
            content = await to_thread.run_sync(generate_latest, registry, limiter=scrapes)
            answered = Response(content, media_type=CONTENT_TYPE_LATEST)
        await answered(scope, receive, send)

    return answer
