"""Sends requests and waits, by blocking calls or in an event loop. The rest of a connection is built on this."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
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

    async def iterate_events(self, response: httpx2.Response) -> AsyncIterator[httpx2.ServerSentEvent]:
        for event in httpx2.EventSource(response, max_event_size=None):
            yield event

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

    async def iterate_events(self, response: httpx2.Response) -> AsyncIterator[httpx2.ServerSentEvent]:
        async for event in httpx2.EventSource(response, max_event_size=None):
            yield event

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
