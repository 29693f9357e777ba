"""Events of a job as server-sent events: each stream is a place in its job's feed, and holds nothing else."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import suppress
from time import monotonic

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from api.live.feeds import Feed, Wire
from api.live.hub import Hub, Seen
from models.database import Database
from models.store import events, jobs, keys
from models.tables import EventRow
from models.views.event import event_view

MEDIA_TYPE = "text/event-stream"
PING_S = 15.0
# Events that a stream reads from the database at a time, at its start and when its client reads slowly.
PAGE = 50

ENDED = format_sse_event(comment="the job has ended")
GONE = format_sse_event(comment="the job was deleted")
STOPPING = format_sse_event(comment="the service stops: connect again with Last-Event-ID")
REVOKED = format_sse_event(comment="the key was revoked")


def wants_stream(accept: str) -> bool:
    """Whether an Accept header names `text/event-stream`, other than to refuse it."""
    for one in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in one.split(";"))
        if media_type == MEDIA_TYPE:
            return not any(part.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for part in parameters)
    return False


def wire_of(row: EventRow) -> Wire:
    """The event with its number as `id`, its type as `event`, and itself as `data`."""
    text = event_view(row).model_dump_json()
    return Wire(row.id, format_sse_event(id=str(row.id), event=row.type, data_str=text))


class DatabaseSource:
    """What the hub asks, each in a short transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def versions(self, job_ids: Collection[str]) -> Mapping[str, Seen]:
        with self._database.read() as session:
            return jobs.versions(session, job_ids)

    def events_of(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Wire]]:
        found: dict[str, list[Wire]] = {}
        with self._database.read() as session:
            for row in events.newer(session, after):
                found.setdefault(row.job_id, []).append(wire_of(row))
        return found

    def page(self, job_id: str, after: int) -> Sequence[Wire]:
        with self._database.read() as session:
            return [wire_of(row) for row in events.page(session, job_id, after=after, limit=PAGE)[0]]

    def revoked(self, key_ids: Collection[str]) -> Collection[str]:
        with self._database.read() as session:
            return keys.revoked_among(session, key_ids)


class EventStream(EventSourceResponse):
    """The answer to a client that follows a job, from after `cursor` to its end."""

    def __init__(self, hub: Hub, job_id: str, *, cursor: int, first: Sequence[Wire], last: int, key_id: str) -> None:
        """`first` are events above `cursor`, `last` the number of the job's last one when they were read."""
        self._hub = hub
        self._job_id = job_id
        self._last = last
        self._key_id = key_id
        self._cursor = cursor
        self._first = first
        super().__init__(_nothing(), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Vary": "Accept"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        feed = self._hub.join(self._job_id, self._last, self._key_id)
        chunks = follow(self._hub, feed, cursor=self._cursor, first=self._first, key_id=self._key_id)
        self._first = ()
        self.body_iterator = chunks
        try:
            await super().__call__(scope, receive, send)
        finally:
            await chunks.aclose()
            self._hub.leave(feed, self._key_id)


async def follow(
    hub: Hub, feed: Feed, *, cursor: int, first: Sequence[Wire], key_id: str
) -> AsyncGenerator[bytes, None]:
    """The bytes of a stream: what is new, a comment whenever that takes long, and a last comment that says why."""
    news: Sequence[Wire] | None = first
    spoke = monotonic()
    while True:
        if news:
            cursor = news[-1].id
            yield b"".join(one.text for one in news)
            spoke = monotonic()
        changed = feed.changed
        if hub.stopped or key_id in hub.revoked:
            yield STOPPING if hub.stopped else REVOKED
            return
        news = feed.after(cursor)
        if news is None:
            news = await hub.catch_up(feed, cursor)
        if news:
            continue
        if feed.gone or (feed.ended and cursor >= feed.last):
            yield GONE if feed.gone else ENDED
            return
        # A database that did not answer is asked again; else there is nothing to do until the feed changes.
        patience_s = hub.poll_s if news is None else max(0.0, spoke + PING_S - monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await changed.wait()
        if monotonic() - spoke >= PING_S:
            yield KEEPALIVE_COMMENT
            spoke = monotonic()


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""
