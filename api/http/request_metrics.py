"""Counts requests for Prometheus, by route."""

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary
from starlette.types import Scope

from api.http.problems import METHODS
from api.http.request_id import PROBED_PATHS, Outcome

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
