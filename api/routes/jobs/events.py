"""Events of one job, as a list and as a stream."""

from fastapi import Response
from starlette.concurrency import run_in_threadpool

from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.deps import AppContextDep, JobId
from api.http.routing import resource
from api.live import streams
from api.live.parameters import Accept, After, LastEventId, Limit, cursor_of
from api.live.recent_events import Channel, ChannelKind
from api.routes import subject_events
from heldout.errors import JobNotFound
from heldout.views.event import EventPage
from models.store import jobs
from models.store.keys import Caller

router = resource("/v1/jobs/{job_id}", "jobs")


@router.get("/events", response_model=EventPage, responses=subject_events.responses_of("job", JobNotFound))
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
    cursor = cursor_of(after, last_event_id, subject_events.MAX_NUMBER)
    if streams.wants_stream(accept):
        return await run_in_threadpool(_stream, app, caller, job_id, cursor)
    response.headers["Vary"] = "Accept"
    return await run_in_threadpool(_page, app, caller, job_id, cursor, limit)


def _page(app: AppContext, caller: Caller, job_id: str, after: int | None, limit: int) -> EventPage:
    with app.database.read() as session:
        job = jobs.find(session, caller.owner, job_id)
        return subject_events.page_of(session, Channel(ChannelKind.JOB, job_id), job.last_event, after, limit)


def _stream(app: AppContext, caller: Caller, job_id: str, after: int | None) -> Response:
    with app.database.read() as session:
        job = jobs.find(session, caller.owner, job_id)
        return subject_events.stream_of(
            session,
            app.hub,
            Channel(ChannelKind.JOB, job_id),
            last_event=job.last_event,
            has_ended=job.finished_at is not None,
            after=after,
            owner=subject_events.stream_owner(session, caller, app.settings.quotas),
        )
