"""Sends a POST to a URL chosen by a client. Its host is resolved once, and only checked addresses are called."""

import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpcore2

from heldout.access.webhooks import Allowed, explain_refused_address, explain_refused_url

TIMEOUT_S = 15.0
# The start of an answer's body is read and discarded, so that the sender is not cut off.
MAX_BODY_BYTES = 16 * 1024
WRITTEN_AT_ONCE_BYTES = 4 * 1024

# Returns the addresses of a host. Raises OSError.
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Answer:
    """The received status, or the error if there was no answer, and how long it took."""

    status: int | None
    error: str | None
    milliseconds: int


class _Refused(Exception):
    """The target may not be called. The text says why."""


def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allowed: Allowed,
    resolve: Resolve = resolve_by_system,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Send a POST and return the answer's status. Ignores redirects and the environment's proxies."""
    began = monotonic()
    try:
        reason = explain_refused_url(url, allowed)  # the operator may have changed what is allowed
        if reason is not None:
            raise _Refused(reason)
        return Answer(
            _post(url, body, headers, _CheckedAddressesOnly(allowed, resolve, began + timeout_s), tls),
            None,
            _count_milliseconds_since(began),
        )
    except _Refused as refused:
        error = str(refused)
    except httpcore2.TimeoutException:
        error = f"No answer within {timeout_s:g} seconds."
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as failed:
        # The network stack's messages reveal the host's addresses; its error classes say enough.
        error = _describe_error(failed)
    return Answer(None, error, _count_milliseconds_since(began))


def _post(
    url: str, body: bytes, headers: Mapping[str, str], network: "_CheckedAddressesOnly", tls: ssl.SSLContext | None
) -> int:
    parts = urlsplit(url)
    target = httpcore2.URL(
        scheme=parts.scheme,
        host=parts.hostname or "",
        port=parts.port,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )
    host = parts.netloc.rpartition("@")[2]
    with (
        httpcore2.ConnectionPool(ssl_context=tls, network_backend=network, max_connections=1) as pool,
        pool.stream("POST", target, headers=[("Host", host), *headers.items()], content=body) as response,
    ):
        with suppress(httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError):
            received = 0
            for chunk in response.iter_stream():
                received += len(chunk)
                if received > MAX_BODY_BYTES:
                    break
        return response.status


class _CheckedAddressesOnly(httpcore2.NetworkBackend):
    """Connects only to checked addresses, with one deadline for everything.

    TLS still requests and verifies the name in the URL.
    """

    def __init__(self, allowed: Allowed, resolve: Resolve, deadline: float) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._deadline = deadline
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = self._check(host, port)
        for address in addresses[:-1]:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                # Half of the remaining time, so that some is left for the next address.
                return self._connect(address, port, _count_seconds_left(self._deadline) / 2)
        return self._connect(addresses[-1], port, _count_seconds_left(self._deadline))

    def _check(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError):
            raise _Refused(f"The name {host} has no address.") from None
        for address in addresses:
            reason = explain_refused_address(host, address, self._allowed)
            if reason is not None:
                raise _Refused(reason)
        if not addresses:
            raise _Refused(f"The name {host} has no address.")
        return addresses

    def _connect(self, address: str, port: int, timeout_s: float) -> httpcore2.NetworkStream:
        return _StreamWithDeadline(self._plain.connect_tcp(address, port, timeout=timeout_s), self._deadline)


class _StreamWithDeadline(httpcore2.NetworkStream):
    """A stream whose every step ends at one deadline, however slow the other side is."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _count_seconds_left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In parts, because the timeout of a write restarts whenever the other side accepts some bytes.
        for start in range(0, len(buffer), WRITTEN_AT_ONCE_BYTES):
            self._stream.write(buffer[start : start + WRITTEN_AT_ONCE_BYTES], _count_seconds_left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _StreamWithDeadline(
            self._stream.start_tls(ssl_context, server_hostname, _count_seconds_left(self._deadline)), self._deadline
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _count_seconds_left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout
    return left


def _describe_error(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) or any(isinstance(arg, ssl.SSLError) for arg in error.args):
        return "TLS failed: the host's certificate is not valid for its name, or the port does not use TLS."
    if isinstance(error, httpcore2.ConnectError):
        return "The host refused the connection or cannot be reached."
    if isinstance(error, httpcore2.ProtocolError):
        return "The host's answer is not HTTP or is incomplete."
    return "The connection was lost."


def _count_milliseconds_since(began: float) -> int:
    return round(1000 * (monotonic() - began))
