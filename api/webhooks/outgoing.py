"""Sends a POST to a URL chosen by a client. Its host is resolved once, and only checked addresses are called."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpcore2

from heldout.access.webhooks import Allowed, explain_refused_address, explain_refused_url

TIMEOUT_S = 15.0
# The start of an answer's body is read and discarded, so that the sender is not cut off.
MAX_BODY_BYTES = 16 * 1024

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
    status = error = None
    try:
        reason = explain_refused_url(url, allowed)  # the operator may have changed what is allowed
        if reason is not None:
            raise _Refused(reason)
        status = asyncio.run(_post(url, body, headers, _CheckedAddressesOnly(allowed, resolve, timeout_s), tls))
    except _Refused as refused:
        error = str(refused)
    except (TimeoutError, httpcore2.TimeoutException):
        error = f"No answer within {timeout_s:g} seconds."
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as failed:
        # The network stack's messages reveal the host's addresses; its error classes say enough.
        error = _describe_error(failed)
    return Answer(status, error, round(1000 * (monotonic() - began)))


async def _post(
    url: str, body: bytes, headers: Mapping[str, str], network: "_CheckedAddressesOnly", tls: ssl.SSLContext | None
) -> int:
    """Return the answer's status. Raises TimeoutError if its head is not complete at the deadline."""
    parts = urlsplit(url)
    target = httpcore2.URL(
        scheme=parts.scheme,
        host=parts.hostname or "",
        port=parts.port,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )
    host = parts.netloc.rpartition("@")[2]
    async with (
        network.opened,
        httpcore2.AsyncConnectionPool(ssl_context=tls, network_backend=network, max_connections=1) as pool,
    ):
        asked = pool.stream("POST", target, headers=[("Host", host), *headers.items()], content=body)
        async with AsyncExitStack() as opened:
            async with asyncio.timeout_at(network.deadline):
                response = await opened.enter_async_context(asked)
            # OSError includes timeouts, and what TLS raises while it reads.
            with suppress(OSError, httpcore2.NetworkError, httpcore2.ProtocolError):
                async with asyncio.timeout_at(network.deadline):
                    received = 0
                    async for chunk in response.aiter_stream():
                        received += len(chunk)
                        if received > MAX_BODY_BYTES:
                            break
            return response.status


class _CheckedAddressesOnly(httpcore2.AnyIOBackend):
    """Connects only to checked addresses. TLS still requests and verifies the name in the URL."""

    def __init__(self, allowed: Allowed, resolve: Resolve, timeout_s: float) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._timeout_s = timeout_s
        # Closes all connections at its exit. The pool does not close one whose TLS handshake was cancelled.
        self.opened = AsyncExitStack()

    @cached_property
    def deadline(self) -> float:
        """The end of everything, by the clock of the event loop, from the first use on."""
        return asyncio.get_running_loop().time() + self._timeout_s

    async def connect_tcp(self, host: str, port: int, *_: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        stream = await self._connect(host, port)
        self.opened.push_async_callback(stream.aclose)
        return stream

    async def _connect(self, host: str, port: int) -> httpcore2.AsyncNetworkStream:
        addresses = self._check(host, port)
        for address in addresses[:-1]:
            # Half of the remaining time, so that some is left for the next address.
            half_s = (self.deadline - asyncio.get_running_loop().time()) / 2
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await super().connect_tcp(address, port, half_s)
        return await super().connect_tcp(addresses[-1], port)

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


def _describe_error(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) or any(isinstance(arg, ssl.SSLError) for arg in error.args):
        return "TLS failed: the host's certificate is not valid for its name, or the port does not use TLS."
    if isinstance(error, httpcore2.ConnectError):
        return "The host refused the connection or cannot be reached."
    if isinstance(error, httpcore2.ProtocolError):
        return "The host's answer is not HTTP or is incomplete."
    return "The connection was lost."
