"""Events of one job, as a list or a stream."""

from fastapi import Response

from api.http.auth import CallerDep
from api.http.deps import JobId
from api.http.routing import make_router
from api.live.hub import Channel, ChannelKind
from api.routes import subject_events
from api.routes.subject_events import AskedEventsDep
from heldout.errors import JobNotFound
from heldout.views.account import EventPage
from models.store import jobs

router = make_router("/v1/jobs/{job_id}", "jobs")


@router.get("/events", response_model=EventPage, responses=subject_events.describe_responses("job", JobNotFound))
async def list_events(job_id: JobId, caller: CallerDep, asked: AskedEventsDep) -> Response | EventPage:
    """List the job's events, oldest first, or stream them as server-sent events."""
    channel = Channel(ChannelKind.JOB, job_id)
    return await asked.answer(channel, caller, lambda session: jobs.find(session, caller.owner, job_id))
