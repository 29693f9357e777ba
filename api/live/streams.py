"""Server-sent events and the parameters of requests for them. A stream stores only its position among recent events."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from time import monotonic
from typing import Annotated

from fastapi import Header, Query
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from api.live.hub import Followed, Hub
from api.live.source import Channel, EncodedEvent
from api.turns import SharedPlaces
from heldout.access.rights import Quota
from heldout.errors import InvalidCursor
from models.store.keys import Caller

MEDIA_TYPE = "text/event-stream"

SERVICE_STOPS = format_sse_event(comment="the service is stopping: reconnect with Last-Event-ID")
KEY_REVOKED = format_sse_event(comment="the key was revoked")


def wants_stream(accept: str) -> bool:
    """Return whether an Accept header names `text/event-stream` with a quality above 0."""
    for part in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in part.split(";"))
        if media_type == MEDIA_TYPE:
            return not any(part.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for part in parameters)
    return False


class EventStream(EventSourceResponse):
    """Streams the events of a channel after `cursor`, until the channel ends."""

    def __init__(
        self,
        hub: Hub,
        places: SharedPlaces,
        channel: Channel,
        *,
        cursor: int,
        first: Sequence[EncodedEvent],
        last: int,
        caller: Caller,
    ) -> None:
        """`first` holds events above `cursor`. `last` is the number of the channel's last event at about that time."""
        self._hub = hub
        self._places = places
        self._channel = channel
        self._last = last
        self._caller = caller
        self._cursor = cursor
        self._first = first
        super().__init__(
            _yield_nothing(), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Vary": "Accept"}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Not taken in the route: a client that disconnects before the answer would leave the place taken.
        async with self._places.taken(Quota.STREAMS, self._caller.owner):
            await self._stream(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        key_id = self._caller.key_id
        with self._hub.stream(self._channel, self._last, key_id) as followed:
            chunks = stream_chunks(self._hub, followed, cursor=self._cursor, first=self._first, key_id=key_id)
            self._first = ()
            self.body_iterator = chunks
            async with aclosing(chunks):
                await super().__call__(scope, receive, send)


async def stream_chunks(
    hub: Hub, followed: Followed, *, cursor: int, first: Sequence[EncodedEvent], key_id: str
) -> AsyncGenerator[bytes, None]:
    """Yield new events, a comment after a long time without any, and a final comment that says why it ends."""
    new: Sequence[EncodedEvent] | None = first
    last_sent_at = monotonic()
    while True:
        if new:
            cursor = new[-1].number
            yield b"".join(event.text for event in new)
            last_sent_at = monotonic()
        changed, last = followed.changed, followed.last
        if hub.stopped or key_id in hub.revoked:
            yield SERVICE_STOPS if hub.stopped else KEY_REVOKED
            return
        new = await hub.read(followed, cursor) if cursor < last else ()
        if new:
            continue
        if new is not None:
            cursor = max(cursor, last)  # what was between them is deleted
        if followed.is_gone or (followed.has_ended and cursor >= followed.last):
            end = "was deleted" if followed.is_gone else "has ended"
            yield format_sse_event(comment=f"the {followed.channel.kind} {end}")
            return
        # If the database did not answer, retry soon. Otherwise sleep until the channel changes.
        sleep_s = hub.poll_s if new is None else max(0.0, last_sent_at + hub.ping_s - monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(sleep_s):
                await changed.wait()
        if monotonic() - last_sent_at >= hub.ping_s:
            yield KEEPALIVE_COMMENT
            last_sent_at = monotonic()


async def _yield_nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


MAX_DIGITS = 16
MAX_SHOWN = 40
# Given instead of a number: the newest event.
LATEST = "latest"

After = Annotated[
    str,
    Query(
        description="Return only events after this number. `latest` stands for the newest event: a stream then "
        "begins with the next event, and a list is empty, with that number as its `next`.",
        json_schema_extra={"pattern": f"^([0-9]{{1,9}}|{LATEST})$"},
    ),
]
Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of events in a list. A stream ignores it.")]
LastEventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        description="The same as `after`. If both are sent, this header takes precedence.",
        json_schema_extra={"pattern": "^[0-9]{0,9}$"},
    ),
]
Accept = Annotated[str, Header(include_in_schema=False)]


def parse_cursor(after: str, last_event_id: str, max_number: int) -> int | None:
    """Get the number of the last event that the client knows. None stands for the newest. Raises InvalidCursor."""
    if after != LATEST and not _is_number(after, max_number):
        raise InvalidCursor
    if not last_event_id:
        return None if after == LATEST else int(after)
    if not _is_number(last_event_id, max_number):
        raise InvalidCursor(
            f"The header `Last-Event-ID` is {last_event_id[:MAX_SHOWN]!r}, which is not the number of an event. Send "
            "the `id` of the last event that you received, or omit the header."
        )
    return int(last_event_id)


def _is_number(text: str, max_number: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) <= max_number
