"""Sends requests and waits, by blocking calls or in an event loop. The rest of a connection is built on this."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx2


class Wire:
    """A pool of connections. Its coroutines raise the errors of httpx2.

    Args:
        is_blocking: whether coroutines run to the end in one step, or wait in the event loop of asyncio.
        options: those of `httpx2.Client`.
    """

    def __init__(self, *, is_blocking: bool, **options: Any) -> None:
        self._is_blocking = is_blocking
        self._http: Any = (httpx2.Client if is_blocking else httpx2.AsyncClient)(**options)

    def build_request(self, method: str, path: str, **options: Any) -> httpx2.Request:
        """Build a request; its `content` may be chunks, which an event loop reads a megabyte at a time."""
        chunks = options.get("content")
        if not self._is_blocking and chunks is not None and not isinstance(chunks, bytes):
            options["content"] = _iterate(chunks)
        request: httpx2.Request = self._http.build_request(method, path, **options)
        return request

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. The body of the answer is not read yet."""
        response: httpx2.Response = await self._settle(self._http.send(request, stream=True))
        return response

    async def read(self, response: httpx2.Response) -> None:
        await self._settle(response.read() if self._is_blocking else response.aread())

    def iterate_chunks(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        return _iterate(response.iter_bytes()) if self._is_blocking else response.aiter_bytes()

    def iterate_events(self, response: httpx2.Response) -> AsyncIterator[httpx2.ServerSentEvent]:
        events = httpx2.EventSource(response, max_event_size=None)
        return _iterate(events) if self._is_blocking else aiter(events)

    async def release(self, response: httpx2.Response) -> None:
        if self._is_blocking:
            response.close()
        else:
            await response.aclose()

    async def pause(self, seconds: float) -> None:
        if self._is_blocking:
            time.sleep(seconds)
            return
        import asyncio  # it takes a while to load, and a blocking client does not need it

        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._settle(self._http.close() if self._is_blocking else self._http.aclose())

    async def _settle(self, result: Any) -> Any:
        return result if self._is_blocking else await result


async def _iterate(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
