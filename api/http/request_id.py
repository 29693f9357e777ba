"""Every request bears an id: on its response, on its log lines, and alone on a 500."""

import re
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import problem_response
from heldout.errors import Internal
from models.ids import new_id

log = structlog.get_logger("heldout.api")

_SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# Probes come every few seconds and say nothing new.
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})


class RequestIdMiddleware:
    """Outermost of all: binds the id, writes one log line a request, and turns what nobody expected into a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope))
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        began = perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            except Exception:
                log.exception("request failed", method=scope["method"], path=scope["path"])
                if status is not None:
                    raise  # half an answer is out: the server must cut the connection
                await problem_response(Internal(request_id), scope["path"])(scope, receive, send_with_id)
            finally:
                write = log.debug if scope["path"] in _QUIET else log.info
                milliseconds = round(1000 * (perf_counter() - began), 1)
                write("request", method=scope["method"], path=scope["path"], status=status, milliseconds=milliseconds)


def request_id_of(headers: Headers) -> str:
    """The client's own `X-Request-ID` where it is a plain token of at most 128 characters, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _SANE.fullmatch(given) else new_id("req")
