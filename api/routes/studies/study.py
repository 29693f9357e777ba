"""Studies: list, get and wait, cancel, delete."""

from typing import Annotated, Any

from fastapi import Query, Response

from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.context import current_context
from api.http.deps import AppContextDep, DeleteFilesDep, ReadSessionDep, SessionDep, StudyId
from api.http.parameters import AskedPage, page_of
from api.http.problems import problems
from api.http.routing import resource
from api.live.recent_events import Channel, ChannelKind
from api.routes.long_poll import LongPoll, long_poll, not_changed, write_etag
from heldout.errors import (
    InvalidCursor,
    SpecUnreadable,
    StudyFinished,
    StudyNotFinished,
    StudyNotFound,
)
from heldout.lifecycle.study import StudyStatus
from heldout.views.study import StudyPage, StudyView
from models.store import studies, study_jobs
from models.views.study import study_view

router = resource("/v1/studies", "studies")


@router.get("", responses=problems(InvalidCursor, SpecUnreadable))
def list_studies(
    caller: CallerDep,
    session: ReadSessionDep,
    asked: Annotated[AskedPage, page_of("std")],
    status: Annotated[list[StudyStatus], Query(description="Repeat it for several.")] = [],  # noqa: B006
) -> StudyPage:
    """The caller's studies, newest first."""
    ids = studies.page(session, caller.owner, status, after=asked.after, limit=asked.limit)
    return asked.filled(StudyPage, ids, lambda block: [study_view(*row) for row in studies.listed(session, block)])


@router.get(
    "/{study_id}",
    response_model=StudyView,
    responses={**not_changed("study"), **problems(StudyNotFound, SpecUnreadable)},
)
async def get_study(
    study_id: StudyId,
    caller: CallerDep,
    app: AppContextDep,
    poll: Annotated[LongPoll, long_poll("study")],
) -> Response | StudyView:
    """A study, now or once it is news."""

    def find() -> StudyView:
        return _find(app, caller.owner, study_id)

    return await poll.latest(Channel(ChannelKind.STUDY, study_id), find)


_ASKED: dict[int | str, dict[str, Any]] = {
    202: {"model": StudyView, "description": "Some of its jobs run; their workers were asked to stop, now or before."}
}


@router.post(
    "/{study_id}/cancel",
    response_description="None of its jobs ran, and it is cancelled.",
    responses={**_ASKED, **problems(StudyNotFound, StudyFinished, SpecUnreadable)},
)
def cancel_study(study_id: StudyId, caller: CallerDep, app: AppContextDep, response: Response) -> StudyView:
    """Cancel a study with all of its jobs. What they have measured by then is kept."""
    # Two transactions: its jobs are locked before it, and none may come after they were listed.
    with app.database.write() as session:
        study_jobs.request_cancel(session, caller.owner, study_id)
        current_context().note_change(session, None)
    with app.database.write() as session:
        study_jobs.cancel_jobs(session, study_id)
    view = _find(app, caller.owner, study_id)
    response.status_code = 200 if view.has_ended else 202
    response.headers["ETag"] = write_etag(view.version)
    return view


@router.delete("/{study_id}", status_code=204, responses=problems(StudyNotFound, StudyNotFinished))
def delete_study(study_id: StudyId, caller: CallerDep, session: SessionDep, delete_files: DeleteFilesDep) -> None:
    """Delete a study that has ended, with all of its jobs, their metrics, events and files."""
    job_ids = studies.remove(session, caller.owner, study_id)
    delete_files(f"studies/{study_id}", *(f"jobs/{job_id}" for job_id in job_ids))


def _find(app: AppContext, owner: str, study_id: str) -> StudyView:
    with app.database.read() as session:
        return study_view(*studies.find(session, owner, study_id))
