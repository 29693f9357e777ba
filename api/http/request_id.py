"""Gives each request an id: in its response, on its log lines, and as the only detail of a 500."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import make_problem_response
from heldout.errors import Internal
from models.ids import make_id

log = structlog.get_logger("heldout.api")

# Noted in the state of a request whose key has been found valid: its connection is not a stranger's.
KNOWN = "is_known"

_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# Probes ask for these every few seconds; they are logged at level debug.
PROBED_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
MAX_LOGGED_METHOD_CHARACTERS = 16
MAX_LOGGED_PATH_CHARACTERS = 200
MAX_LOGGED_ADDRESS_CHARACTERS = 45  # the longest of IPv6


@dataclass(slots=True)
class Outcome:
    """The log record of one request. status: None if nothing was sent. size_bytes: of the answer, from its headers.

    head_s, seconds: from the request to its answer's head, and to its end.
    """

    status: int | None = None
    size_bytes: int = 0
    head_s: float = 0.0
    seconds: float = 0.0


# Called with the end of each request.
Note = Callable[[Scope, Outcome], None]


def log_request(scope: Scope, outcome: Outcome) -> None:
    """One line a request."""
    write = log.debug if scope["path"] in PROBED_PATHS else log.info
    write(
        "request",
        method=shorten(scope["method"], MAX_LOGGED_METHOD_CHARACTERS),
        path=shorten(scope["path"], MAX_LOGGED_PATH_CHARACTERS),
        status=outcome.status,
        milliseconds=round(1000 * outcome.seconds, 1),
        address=shorten((scope.get("client") or ("",))[0], MAX_LOGGED_ADDRESS_CHARACTERS),
    )


class RequestIdMiddleware:
    """The outermost middleware: sets the request id, notes the end, answers unexpected errors with 500."""

    def __init__(self, app: ASGIApp, note: Note = log_request) -> None:
        self.app = app
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        request_id = request_id_of(Headers(scope=scope))
        outcome, began = Outcome(), perf_counter()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                outcome.status, outcome.head_s = message["status"], perf_counter() - began
                outcome.size_bytes = int(headers.get("content-length", 0))
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            except Exception:
                log.exception(
                    "request_failed",
                    method=shorten(scope["method"], MAX_LOGGED_METHOD_CHARACTERS),
                    path=shorten(scope["path"], MAX_LOGGED_PATH_CHARACTERS),
                )
                if outcome.status is not None:
                    raise  # part of the answer is sent: the server must cut the connection
                await make_problem_response(Internal(request_id), scope["path"])(scope, receive, send_with_id)
            finally:
                outcome.seconds = perf_counter() - began
                self._note(scope, outcome)


def request_id_of(headers: Headers) -> str:
    """The client's own `X-Request-ID` if it is a plain token of at most 128 characters, else a new id."""
    given = headers.get("x-request-id", "")
    return given if _PLAIN_TOKEN.fullmatch(given) else make_id("req")


def shorten(text: str, max_characters: int) -> str:
    """The text, cut to `max_characters` with an ellipsis as the last one: clients choose how long it is."""
    return text if len(text) <= max_characters else f"{text[: max_characters - 1]}…"
