"""Events of one study, as a list or a stream."""

from fastapi import Response

from api.http.auth import CallerDep
from api.http.deps import StudyId
from api.http.routing import make_router
from api.live.hub import Channel, ChannelKind
from api.routes import subject_events
from api.routes.subject_events import AskedEventsDep
from heldout.errors import StudyNotFound
from heldout.views.account import EventPage
from models.store import studies

router = make_router("/v1/studies/{study_id}", "studies")


@router.get("/events", response_model=EventPage, responses=subject_events.describe_responses("study", StudyNotFound))
async def list_study_events(study_id: StudyId, caller: CallerDep, asked: AskedEventsDep) -> Response | EventPage:
    """List the study's events, oldest first, or stream them. Its jobs have their own events."""
    channel = Channel(ChannelKind.STUDY, study_id)
    return await asked.answer(channel, caller, lambda session: studies.find(session, caller.owner, study_id)[0])
