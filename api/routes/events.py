"""Events of an owner, a job or a study, as a list or a stream."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Response
from starlette.concurrency import run_in_threadpool

from api.http.auth import CallerContext
from api.http.context import RequestContext
from api.http.parameters import cut_to_page
from api.http.problems import raises
from api.http.routing import make_router
from api.live import source, streams
from api.live.source import Channel, ChannelKind
from api.live.streams import Accept, After, LastEventId, Limit, parse_cursor
from heldout.errors import InvalidCursor, QuotaExceeded
from heldout.views.account import EventPage, OwnerEventPage
from models.database import Session
from models.store import events
from models.tables import EventRow, JobRow, StudyRow

Answered = Response | EventPage | OwnerEventPage
# Reads the subject. Raises if it is missing.
Find = Callable[[Session], JobRow | StudyRow]


def describe_responses(end: str, ended: str | None = None) -> dict[int | str, dict[str, Any]]:
    """Build the `responses=` of a route of events. end: until when a stream lasts. ended: what a 204 means, if any."""
    return {
        200: {
            "description": "With `Accept: text/event-stream`, events as they happen (`id`, `event`, and the event as "
            f"`data`), until {end}.",
            "content": {streams.MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        **({} if ended is None else {204: {"description": ended}}),
    }


def describe_subject_responses(what: str) -> dict[int | str, dict[str, Any]]:
    """Build the `responses=` for the events of one subject. what: `job` or `study`."""
    ended = f"The {what} has ended, and there are no more events to stream: do not reconnect."
    return describe_responses(f"the {what} has ended", ended)


@dataclass(frozen=True)
class _Found:
    """The next events of a channel, whether there are more, its last number, and whether it has ended."""

    rows: Sequence[EventRow]
    more: bool
    last: int
    has_ended: bool = False


@dataclass(frozen=True)
class AskedEvents:
    """A request for events. after: number of the last event that the client has; None: the newest."""

    context: RequestContext
    response: Response
    after: int | None
    limit: int
    as_stream: bool

    async def answer(self, channel: Channel, find: Find | None = None) -> Answered:
        """Answer with a list or a stream. find: reads the subject. None: the channel is that of all an owner's events.

        A stream to which no events can be added is answered with 204: a browser reconnects after any other end.
        """
        # In a thread: the views of a page, and their encoding, would hold up other requests for milliseconds.
        return await run_in_threadpool(self._answer, channel, find)

    def _answer(self, channel: Channel, find: Find | None) -> Answered:
        found = self._read(channel, find, source.PAGE if self.as_stream else self.limit)
        views = [source.build_view(channel, row) for row in found.rows]
        if self.as_stream:
            if not views and found.has_ended:
                return Response(status_code=204)
            is_new = self.after is None
            return streams.EventStream(
                self.context.app.hub,
                self.context.app.places,
                channel,
                cursor=found.last if self.after is None else self.after,
                first=[source.encode_start(found.last)] if is_new else [source.encode_event(view) for view in views],
                last=found.last,
                caller=self.context.caller,
            )
        self.response.headers["Vary"] = "Accept"
        data = cut_to_page(views)
        more = found.more or len(data) < len(views)
        end = found.last if self.after is None else data[-1].id if more else None
        page = EventPage if find is not None else OwnerEventPage
        return page(object="list", data=data, has_more=more, next=end)

    def _read(self, channel: Channel, find: Find | None, limit: int) -> _Found:
        database, after = self.context.app.database, self.after
        if find is not None:
            with database.read() as session:
                subject = find(session)
                page = (
                    events.list_page(session, channel.id, after=after, limit=limit)
                    if after is not None
                    else ([], False)
                )
                return _Found(*page, subject.last_event, subject.finished_at is not None)
        if after is None:
            return _Found((), False, source.read_latest_number(database, channel.id))
        rows, more = source.read_owner_page(database, channel.id, after=after, limit=limit)
        return _Found(rows, more, (rows[-1].owner_number or after) if rows else after)


def make_asked_events(max_number: int) -> Any:
    """Make the dependency that reads which events a request asks for. max_number: the largest number of an event."""

    @raises(InvalidCursor, QuotaExceeded)
    async def read(
        context: CallerContext,
        response: Response,
        after: After = "0",
        limit: Limit = 20,
        last_event_id: LastEventId = "",
        accept: Accept = "",
    ) -> AskedEvents:
        cursor = parse_cursor(after, last_event_id, max_number)
        return AskedEvents(context, response, cursor, limit, as_stream=streams.wants_stream(accept))

    return Depends(read)


# An event's number within its subject is a 32-bit column.
AskedEventsDep = Annotated[AskedEvents, make_asked_events(2**31 - 1)]


router = make_router("/v1/events", "events")

# The largest integer that every JSON parser represents exactly.
MAX_NUMBER = 2**53 - 1


@router.get(
    "",
    response_model=OwnerEventPage,
    responses=describe_responses("the service stops or the key is revoked"),
)
async def list_all_events(
    context: CallerContext, asked: Annotated[AskedEvents, make_asked_events(MAX_NUMBER)]
) -> Answered:
    """List all your events, or stream them as server-sent events."""
    return await asked.answer(Channel(ChannelKind.OWNER, context.owner))
