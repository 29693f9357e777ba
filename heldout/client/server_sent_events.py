"""Reads server-sent events from the bytes of a stream."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass


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
