"""Gives each request an id, which appears in its response, on its log lines, and as the only detail of a 500."""

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

# Set in the state of a request whose key is valid.
HAS_VALID_KEY = "has_valid_key"

_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# Probes request these every few seconds, so they are logged at level debug.
PROBED_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
MAX_LOGGED_METHOD_CHARACTERS = 16
MAX_LOGGED_PATH_CHARACTERS = 200
MAX_LOGGED_ADDRESS_CHARACTERS = 45  # the longest IPv6 address


@dataclass(slots=True)
class Outcome:
    """The log record of one request.

    status: None if nothing was sent.
    size_bytes: Content-Length of the answer.
    head_s, seconds: time from the request to the head of the answer, and to its end.
    """

    status: int | None = None
    size_bytes: int = 0
    head_s: float = 0.0
    seconds: float = 0.0


# Called at the end of each request.
Note = Callable[[Scope, Outcome], None]


def log_request(scope: Scope, outcome: Outcome) -> None:
    """Write one log line for the request."""
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
    """The outermost middleware: sets the request id, records the outcome, and answers unexpected errors with 500."""

    def __init__(self, app: ASGIApp, note: Note = log_request) -> None:
        self.app = app
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        request_id = choose_request_id(Headers(scope=scope))
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
                    raise  # part of the answer has been sent, so the server must cut the connection
                await make_problem_response(Internal(request_id), scope["path"])(scope, receive, send_with_id)
            finally:
                outcome.seconds = perf_counter() - began
                self._note(scope, outcome)


def choose_request_id(headers: Headers) -> str:
    """Use the client's own `X-Request-ID` if it is a plain token of at most 128 characters, otherwise a new id."""
    given = headers.get("x-request-id", "")
    return given if _PLAIN_TOKEN.fullmatch(given) else make_id("req")


def shorten(text: str, max_characters: int) -> str:
    """Cut the text to `max_characters`, the last of which is an ellipsis. Clients choose its length."""
    return text if len(text) <= max_characters else f"{text[: max_characters - 1]}…"
