"""Shared by the routes of a job's or a study's events: the list and the stream."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Response
from starlette.concurrency import run_in_threadpool

from api.http.app_context import AppContext
from api.http.deps import AppContextDep
from api.http.parameters import cut_to_page
from api.http.problems import document_errors
from api.live import source, streams
from api.live.hub import Channel
from api.live.streams import Accept, After, LastEventId, Limit, parse_cursor
from heldout.errors import HeldoutError, InvalidCursor, QuotaExceeded
from heldout.views.account import EventPage
from models.database import Session
from models.store import events
from models.store.keys import Caller
from models.tables import JobRow, StudyRow
from models.views.webhook import build_event_view

# An event's number within its subject is a 32-bit column.
MAX_NUMBER = 2**31 - 1
# Reads the subject. Raises if it is missing.
Find = Callable[[Session], JobRow | StudyRow]


def describe_responses(what: str, not_found: type[HeldoutError]) -> dict[int | str, dict[str, Any]]:
    """Build the `responses=` of a route of events. what: `job` or `study`."""
    return {
        200: {
            "description": "With `Accept: text/event-stream`, events as they happen (`id`, `event`, and the event as "
            f"`data`), until the {what} has ended.",
            "content": {streams.MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        204: {"description": f"The {what} has ended, and there are no more events to stream: do not reconnect."},
        **document_errors(not_found, InvalidCursor, QuotaExceeded),
    }


@dataclass(frozen=True)
class AskedEvents:
    """A request for events of one subject. after: number of the last event that the client has; None: the newest."""

    app: AppContext
    response: Response
    after: int | None
    limit: int
    as_stream: bool

    async def answer(self, channel: Channel, caller: Caller, find: Find) -> Response | EventPage:
        """Answer with a list or a stream."""
        if self.as_stream:
            return await run_in_threadpool(self._stream, channel, caller, find)
        self.response.headers["Vary"] = "Accept"
        return await run_in_threadpool(self._page, channel, find)

    def _page(self, channel: Channel, find: Find) -> EventPage:
        with self.app.database.read() as session:
            return _read_page(session, channel, find(session).last_event, self.after, self.limit)

    def _stream(self, channel: Channel, caller: Caller, find: Find) -> Response:
        with self.app.database.read() as session:
            subject = find(session)
            return _stream_of(
                session,
                self.app,
                channel,
                last_event=subject.last_event,
                has_ended=subject.finished_at is not None,
                after=self.after,
                caller=caller,
            )


async def _parse_asked_events(
    app: AppContextDep,
    response: Response,
    after: After = "0",
    limit: Limit = 20,
    last_event_id: LastEventId = "",
    accept: Accept = "",
) -> AskedEvents:
    return AskedEvents(
        app, response, parse_cursor(after, last_event_id, MAX_NUMBER), limit, as_stream=streams.wants_stream(accept)
    )


AskedEventsDep = Annotated[AskedEvents, Depends(_parse_asked_events)]


def _read_page(session: Session, channel: Channel, last_event: int, after: int | None, limit: int) -> EventPage:
    """Read the subject's events above `after`. None gives an empty page with the number of the newest event."""
    if after is None:
        return EventPage(object="list", data=[], has_more=False, next=last_event)
    rows, more = events.list_page(session, channel.id, after=after, limit=limit)
    data = cut_to_page([build_event_view(row) for row in rows])
    more = more or len(data) < len(rows)
    return EventPage(object="list", data=data, has_more=more, next=data[-1].id if more else None)


def _stream_of(
    session: Session,
    app: AppContext,
    channel: Channel,
    *,
    last_event: int,
    has_ended: bool,
    after: int | None,
    caller: Caller,
) -> Response:
    """Make the stream, or answer 204 if no events can follow: a browser reconnects after any other end."""
    rows = [] if after is None else events.list_page(session, channel.id, after=after, limit=source.PAGE)[0]
    if not rows and has_ended:
        return Response(status_code=204)
    first = [source.encode_start(last_event)] if after is None else [source.encode_event(row) for row in rows]
    return streams.EventStream(
        app.hub,
        app.places,
        channel,
        cursor=last_event if after is None else after,
        first=first,
        last=last_event,
        caller=caller,
    )
