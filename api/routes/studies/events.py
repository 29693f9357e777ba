"""Events of one study, as a list and as a stream."""

from fastapi import Response
from starlette.concurrency import run_in_threadpool

from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.deps import AppContextDep, StudyId
from api.http.routing import resource
from api.live import streams
from api.live.parameters import Accept, After, LastEventId, Limit, cursor_of
from api.live.recent_events import Channel, ChannelKind
from api.routes import subject_events
from heldout.errors import StudyNotFound
from heldout.views.event import EventPage
from models.store import studies
from models.store.keys import Caller

router = resource("/v1/studies/{study_id}", "studies")


@router.get("/events", response_model=EventPage, responses=subject_events.responses_of("study", StudyNotFound))
async def list_study_events(
    study_id: StudyId,
    caller: CallerDep,
    app: AppContextDep,
    response: Response,
    after: After = "0",
    limit: Limit = 20,
    last_event_id: LastEventId = "",
    accept: Accept = "",
) -> Response | EventPage:
    """What happened to the study, oldest first: a list, or a stream of server-sent events. Its jobs have their own."""
    cursor = cursor_of(after, last_event_id, subject_events.MAX_NUMBER)
    if streams.wants_stream(accept):
        return await run_in_threadpool(_stream, app, caller, study_id, cursor)
    response.headers["Vary"] = "Accept"
    return await run_in_threadpool(_page, app, caller, study_id, cursor, limit)


def _page(app: AppContext, caller: Caller, study_id: str, after: int | None, limit: int) -> EventPage:
    with app.database.read() as session:
        study, _ = studies.find(session, caller.owner, study_id)
        return subject_events.page_of(session, Channel(ChannelKind.STUDY, study_id), study.last_event, after, limit)


def _stream(app: AppContext, caller: Caller, study_id: str, after: int | None) -> Response:
    with app.database.read() as session:
        study, _ = studies.find(session, caller.owner, study_id)
        return subject_events.stream_of(
            session,
            app.hub,
            Channel(ChannelKind.STUDY, study_id),
            last_event=study.last_event,
            has_ended=study.finished_at is not None,
            after=after,
            owner=subject_events.stream_owner(session, caller, app.settings.quotas),
        )
