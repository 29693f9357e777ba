"""Events of one job or study, as a list and as a stream: what their routes share."""

from typing import Any

from fastapi import Response

from api.http.problems import problems
from api.live import source, streams
from api.live.hub import Hub
from api.live.places import StreamOwner
from api.live.recent_events import Channel
from heldout.errors import HeldoutError, InvalidCursor, QuotaExceeded
from heldout.quotas import Bounds, Quota
from heldout.views.event import EventPage
from models.database import Session
from models.store import events, quotas
from models.store.keys import Caller
from models.views.event import event_view

# An event's number among those of its subject is a 32-bit column.
MAX_NUMBER = 2**31 - 1


def responses_of(what: str, not_found: type[HeldoutError]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route of events. what: `job` or `study`, for its texts."""
    return {
        200: {
            "description": "With `Accept: text/event-stream` the events as they come (`id`, `event` and the event as "
            f"`data`), until the {what} has ended.",
            "content": {streams.MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        204: {"description": f"The stream of a {what} that has ended and has no further event: do not connect again."},
        **problems(not_found, InvalidCursor, QuotaExceeded),
    }


def page_of(session: Session, channel: Channel, last_event: int, after: int | None, limit: int) -> EventPage:
    """The subject's events above `after`; none, with the number of its last one, where `after` is None."""
    if after is None:
        return EventPage(object="list", data=[], has_more=False, next=last_event)
    rows, more = events.page(session, channel.id, after=after, limit=limit)
    return EventPage(
        object="list",
        data=[event_view(row) for row in rows],
        has_more=more,
        next=rows[-1].id if more else None,
    )


def stream_owner(session: Session, caller: Caller, bounds: Bounds) -> StreamOwner:
    """The caller as the owner of a stream, with how many there may be."""
    return StreamOwner(caller.owner, caller.key_id, quotas.allowed(session, caller.owner, bounds, Quota.STREAMS))


def stream_of(
    session: Session,
    hub: Hub,
    channel: Channel,
    *,
    last_event: int,
    has_ended: bool,
    after: int | None,
    owner: StreamOwner,
) -> Response:
    """The stream, or 204 where nothing will come any more: a browser connects again after every other end."""
    rows = [] if after is None else events.page(session, channel.id, after=after, limit=source.PAGE)[0]
    if not rows and has_ended:
        return Response(status_code=204)
    first = [source.encode_start(last_event)] if after is None else [source.encode_event(row) for row in rows]
    return streams.EventStream(
        hub, channel, cursor=last_event if after is None else after, first=first, last=last_event, owner=owner
    )
