"""Lists, returns, cancels and deletes studies, and follows their events."""

from functools import partial
from typing import Annotated, Any

from fastapi import Query, Response

from api.http.auth import CallerContext
from api.http.context import RequestContext
from api.http.deps import ReadContext, StudyId, WriteContext
from api.http.parameters import AskedPage, make_page_dependency
from api.http.problems import raises
from api.http.routing import make_router
from api.live.source import Channel, ChannelKind
from api.routes.events import Answered, AskedEventsDep, describe_subject_responses
from api.routes.long_poll import LongPoll, describe_not_changed, make_long_poll, write_etag
from heldout import errors
from heldout.lifecycle.resources import StudyStatus
from heldout.views.account import EventPage
from heldout.views.study import StudyPage, StudyView
from models.database import Session
from models.store import studies, study_jobs
from models.views.study import build_study_view

router = make_router("/v1/studies", "studies")


@router.get("")
@raises(errors.SpecUnreadable)
def list_studies(
    context: ReadContext,
    asked: Annotated[AskedPage, make_page_dependency("std")],
    status: Annotated[
        list[StudyStatus], Query(description="Only studies with this status. Repeat it for several.")
    ] = [],  # noqa: B006
) -> StudyPage:
    """List your studies, newest first."""
    ids = studies.list_page(context.session, context.owner, status, after=asked.after, limit=asked.limit)
    return asked.fill(
        StudyPage, ids, lambda block: [build_study_view(*row) for row in studies.get_listed(context.session, block)]
    )


@router.get("/{study_id}", response_model=StudyView, responses=describe_not_changed("study"))
@raises(errors.SpecUnreadable)
async def get_study(
    study_id: StudyId,
    context: CallerContext,
    poll: Annotated[LongPoll, make_long_poll("study")],
) -> Response | StudyView:
    """Get a study, now or once it has changed: its arms, their differences with intervals, and its answer."""

    def find() -> StudyView:
        return _find(context, study_id)

    return await poll.wait_for_latest(Channel(ChannelKind.STUDY, study_id), find)


_REQUESTED: dict[int | str, dict[str, Any]] = {
    202: {"model": StudyView, "description": "Some jobs are running: their workers were asked to stop, now or earlier."}
}


@router.post(
    "/{study_id}/cancel",
    response_description="No job was running, and the study is now cancelled.",
    responses=_REQUESTED,
)
@raises(errors.StudyFinished, errors.SpecUnreadable)
def cancel_study(study_id: StudyId, context: CallerContext, response: Response) -> StudyView:
    """Cancel a study and all its jobs. Results measured so far are kept. A judge needs a key of scope `admin`."""
    with context.read() as session:
        _require_scope(context, session, study_id)
    # First a transaction of its own: jobs are locked before their study, and none may be added after they were listed.
    with context.write() as session:
        study_jobs.request_cancel(session, context.owner, study_id)
        context.note_change(session, None)
    context.app.database.write_in_pieces(partial(study_jobs.cancel_some, study_id))
    view = _find(context, study_id)
    response.status_code = 200 if view.has_ended else 202
    response.headers["ETag"] = write_etag(view.version)
    return view


@router.delete("/{study_id}", status_code=204)
@raises(errors.StudyNotFinished)
def delete_study(study_id: StudyId, context: WriteContext) -> None:
    """Delete a study that has ended, with all its jobs, their metrics, events and files.

    A judge, which includes the list of its attempts, needs a key of scope `admin`.
    """
    _require_scope(context, context.session, study_id)
    job_ids = studies.remove(context.session, context.owner, study_id)
    context.delete_files(f"studies/{study_id}", *(f"jobs/{job_id}" for job_id in job_ids))


@router.get(
    "/{study_id}/events",
    response_model=EventPage,
    responses=describe_subject_responses("study"),
)
async def list_study_events(study_id: StudyId, context: CallerContext, asked: AskedEventsDep) -> Answered:
    """List the study's events, oldest first, or stream them. Its jobs have their own events."""
    channel = Channel(ChannelKind.STUDY, study_id)
    return await asked.answer(channel, lambda session: studies.find(session, context.owner, study_id)[0])


def _require_scope(context: RequestContext, session: Session, study_id: str) -> None:
    """Require the scope `admin` for a judge: agents often hold keys that may write. Raises InsufficientScope."""
    study, _ = studies.find(session, context.owner, study_id)
    if study.kind == "judge":
        context.require_scope("admin")


def _find(context: RequestContext, study_id: str) -> StudyView:
    with context.read() as session:
        return build_study_view(*studies.find(session, context.owner, study_id))
