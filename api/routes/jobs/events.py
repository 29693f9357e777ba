"""Events of one job, as a list and as a stream."""

from typing import Any

from fastapi import Response
from starlette.concurrency import run_in_threadpool

from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.deps import AppContextDep, JobId
from api.http.problems import problems
from api.http.routing import resource
from api.live import source, streams
from api.live.parameters import Accept, After, LastEventId, Limit, cursor_of
from api.live.recent_events import Channel, ChannelKind
from heldout.errors import InvalidCursor, JobNotFound
from heldout.views.event import EventPage
from models.store import events, jobs
from models.store.keys import Caller
from models.views.event import event_view

router = resource("/v1/jobs/{job_id}", "jobs")

# An event's number in its job is a 32-bit column.
MAX_NUMBER = 2**31 - 1

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `Accept: text/event-stream` the events as they come (`id`, `event` and the event as "
        "`data`), until the job has ended.",
        "content": {streams.MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    204: {"description": "The stream of a job that has ended and has no further event: do not connect again."},
    **problems(JobNotFound, InvalidCursor),
}


@router.get("/events", response_model=EventPage, responses=_RESPONSES)
async def list_events(
    job_id: JobId,
    caller: CallerDep,
    app: AppContextDep,
    response: Response,
    after: After = "0",
    limit: Limit = 20,
    last_event_id: LastEventId = "",
    accept: Accept = "",
) -> Response | EventPage:
    """What happened to the job, oldest first: a list, or a stream of server-sent events."""
    cursor = cursor_of(after, last_event_id, MAX_NUMBER)
    if streams.wants_stream(accept):
        return await run_in_threadpool(_stream, app, caller, job_id, cursor)
    response.headers["Vary"] = "Accept"
    return await run_in_threadpool(_page, app, caller, job_id, cursor, limit)


def _page(app: AppContext, caller: Caller, job_id: str, after: int | None, limit: int) -> EventPage:
    with app.database.read() as session:
        job = jobs.find(session, caller.owner, job_id)
        if after is None:
            return EventPage(object="list", data=[], has_more=False, next=job.last_event)
        rows, more = events.page(session, job_id, after=after, limit=limit)
    return EventPage(
        object="list",
        data=[event_view(row) for row in rows],
        has_more=more,
        next=rows[-1].id if more else None,
    )


def _stream(app: AppContext, caller: Caller, job_id: str, after: int | None) -> Response:
    """The stream, or 204 where nothing will come any more: a browser connects again after every other end."""
    with app.database.read() as session:
        job = jobs.find(session, caller.owner, job_id)
        rows = [] if after is None else events.page(session, job_id, after=after, limit=source.PAGE)[0]
    if not rows and job.finished_at is not None:
        return Response(status_code=204)
    first = [source.encode_start(job.last_event)] if after is None else [source.encode_job_event(row) for row in rows]
    return streams.EventStream(
        app.hub,
        Channel(ChannelKind.JOB, job_id),
        cursor=job.last_event if after is None else after,
        first=first,
        last=job.last_event,
        key_id=caller.key_id,
    )
