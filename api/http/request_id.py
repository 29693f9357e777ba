"""Gives each request an id, logs how it ended, and counts it for Prometheus by its route."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, Summary
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import METHODS, make_problem_response
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


# The labels of all methods and paths without a route. Clients must not be able to invent labels, because each stays in
# memory until the process ends.
OTHER_METHOD = "OTHER"
UNMATCHED_PATH = "unmatched"
MANY_BUCKETS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60),
)
ONLY_HEADERS = "Only value of header is respected. Otherwise ignored. No percentile calculated."


class RequestMetrics:
    """Metrics of one process. Durations end with the answer's headers, so open streams do not count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "http_requests",
            "Total number of requests by method, status and handler.",
            ["method", "status", "handler"],
            registry=registry,
        )
        self._received = Summary(
            "http_request_size_bytes",
            f"Content length of incoming requests by handler. {ONLY_HEADERS}",
            ["handler"],
            registry=registry,
        )
        self._sent = Summary(
            "http_response_size_bytes",
            f"Content length of outgoing responses by handler. {ONLY_HEADERS}",
            ["handler"],
            registry=registry,
        )
        self._seconds = Histogram(
            "http_request_duration_highr_seconds",
            "Latency with many buckets but no API specific labels. Made for more accurate percentile calculations.",
            buckets=MANY_BUCKETS,
            registry=registry,
        )
        self._seconds_by_handler = Histogram(
            "http_request_duration_seconds",
            "Latency with only few buckets by handler. Made to be only used if aggregation by handler is important.",
            ["method", "handler"],
            buckets=(0.1, 0.5, 1),
            registry=registry,
        )

    def count(self, scope: Scope, outcome: Outcome) -> None:
        """Count a request that has ended, unless it is a probe."""
        route = scope.get("route")
        # Requests to a mounted app have no route.
        handler = getattr(route, "path", None) or scope.get("root_path") or UNMATCHED_PATH
        if handler in PROBED_PATHS:
            return
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        self._total.labels(method, f"{(outcome.status or 500) // 100}xx", handler).inc()
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        self._received.labels(handler).observe(int(length))
        self._sent.labels(handler).observe(outcome.size_bytes)
        self._seconds.observe(outcome.head_s)
        self._seconds_by_handler.labels(method, handler).observe(outcome.head_s)
