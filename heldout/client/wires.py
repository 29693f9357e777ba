"""Sends requests and waits, by blocking calls or in an event loop. The rest of a connection is built on this."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import httpx2


class BlockingWire:
    """A wire whose coroutines run to the end in one step. They raise the errors of httpx2."""

    def __init__(self, **options: Any) -> None:
        self._http = httpx2.Client(**options)
        self.build_request = self._http.build_request

    def make_body(self, chunks: Iterable[bytes]) -> Any:
        """Convert chunks to the form that a request takes."""
        return chunks

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. The body of the answer is not read yet."""
        return self._http.send(request, stream=True)

    async def read(self, response: httpx2.Response) -> None:
        response.read()

    async def iterate_chunks(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        for chunk in response.iter_bytes():
            yield chunk

    async def release(self, response: httpx2.Response) -> None:
        response.close()

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    async def close(self) -> None:
        self._http.close()


class AwaitingWire:
    """A wire whose coroutines wait in the event loop of asyncio. It has the methods of `BlockingWire`."""

    def __init__(self, **options: Any) -> None:
        self._http = httpx2.AsyncClient(**options)
        self.build_request = self._http.build_request

    def make_body(self, chunks: Iterable[bytes]) -> Any:
        return _iterate_one_by_one(chunks)

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        return await self._http.send(request, stream=True)

    async def read(self, response: httpx2.Response) -> None:
        await response.aread()

    async def iterate_chunks(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        async for chunk in response.aiter_bytes():
            yield chunk

    async def release(self, response: httpx2.Response) -> None:
        await response.aclose()

    async def pause(self, seconds: float) -> None:
        import asyncio  # it takes a while to load, and a blocking client does not need it

        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._http.aclose()


async def _iterate_one_by_one(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield chunks of a file. Each is read in the event loop: a megabyte takes no longer than other steps there."""
    for chunk in chunks:
        yield chunk


Wire = BlockingWire | AwaitingWire


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event. An id without data only tells a client where to continue after it connects again."""

    id: str | None
    data: bytes


async def read_events(chunks: AsyncIterable[bytes]) -> AsyncIterator[ServerSentEvent]:
    """Yield the events of a stream without its comments. An event that is cut off is left out."""
    id_: str | None = None
    data: list[bytes] = []
    async for line in _iterate_lines(chunks):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id":
            id_ = value.decode()
        elif name == b"data":
            data.append(value)
        elif not line and (id_ is not None or data):
            yield ServerSentEvent(id_, b"\n".join(data))
            id_, data = None, []


async def _iterate_lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield complete lines, split only at line feeds: data may contain other characters at which Python splits text."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
