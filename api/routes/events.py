"""All events of an owner in one sequence, as a list or a stream."""

from typing import Any

from fastapi import Response
from starlette.concurrency import run_in_threadpool

from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.deps import AppContextDep
from api.http.parameters import cut_to_page
from api.http.problems import document_errors
from api.http.routing import make_router
from api.live import source, streams
from api.live.hub import Channel, ChannelKind
from api.live.streams import Accept, After, LastEventId, Limit, parse_cursor
from heldout.errors import InvalidCursor, QuotaExceeded
from heldout.views.account import OwnerEventPage
from models.store.keys import Caller
from models.views.webhook import build_owner_event_view

router = make_router("/v1/events", "events")

# The largest integer that every JSON parser represents exactly.
MAX_NUMBER = 2**53 - 1

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `Accept: text/event-stream`, events as they happen (`id`, `event`, and the event as "
        "`data`), until the service stops or the key is revoked.",
        "content": {streams.MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    **document_errors(InvalidCursor, QuotaExceeded),
}


@router.get("", response_model=OwnerEventPage, responses=_RESPONSES)
async def list_all_events(
    caller: CallerDep,
    app: AppContextDep,
    response: Response,
    after: After = "0",
    limit: Limit = 20,
    last_event_id: LastEventId = "",
    accept: Accept = "",
) -> Response | OwnerEventPage:
    """List all your events, or stream them as server-sent events."""
    cursor = parse_cursor(after, last_event_id, MAX_NUMBER)
    if streams.wants_stream(accept):
        return await run_in_threadpool(_stream, app, caller, cursor)
    response.headers["Vary"] = "Accept"
    return await run_in_threadpool(_read_page, app, caller, cursor, limit)


def _read_page(app: AppContext, caller: Caller, after: int | None, limit: int) -> OwnerEventPage:
    if after is None:
        latest = source.read_latest_number(app.database, caller.owner)
        return OwnerEventPage(object="list", data=[], has_more=False, next=latest)
    rows, more = source.read_owner_page(app.database, caller.owner, after=after, limit=limit)
    data = cut_to_page([build_owner_event_view(row) for row in rows])
    more = more or len(data) < len(rows)
    return OwnerEventPage(object="list", data=data, has_more=more, next=data[-1].id if more else None)


def _stream(app: AppContext, caller: Caller, after: int | None) -> Response:
    if after is None:
        after = source.read_latest_number(app.database, caller.owner)
        first = [source.encode_start(after)]
    else:
        rows, _ = source.read_owner_page(app.database, caller.owner, after=after, limit=source.PAGE)
        first = [source.encode_owner_event(row) for row in rows]
    return streams.EventStream(
        app.hub,
        app.places,
        Channel(ChannelKind.OWNER, caller.owner),
        cursor=after,
        first=first,
        last=first[-1].number if first else after,
        caller=caller,
    )
