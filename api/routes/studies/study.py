"""Studies: list, get and wait, cancel, delete."""

from typing import Annotated, Any

import structlog
from fastapi import Query, Response

from api.http import etag
from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.deps import AfterCommitDep, AppContextDep, ReadSessionDep, SessionDep, StudyId, cursor
from api.http.problems import problems
from api.http.routing import resource
from api.live.recent_events import Channel, ChannelKind
from api.routes.long_poll import MAX_WAIT_S, IfNoneMatch, latest, wait_text
from heldout.errors import (
    HeldoutError,
    InvalidCursor,
    SpecUnreadable,
    StudyFinished,
    StudyNotFinished,
    StudyNotFound,
)
from heldout.study_lifecycle import StudyStatus
from heldout.views.study import StudyPage, StudyView
from models.ids import is_id
from models.store import studies, study_jobs
from models.views.study import study_view

log = structlog.get_logger("heldout.api")

router = resource("/v1/studies", "studies")


@router.get("", responses=problems(InvalidCursor, SpecUnreadable))
def list_studies(
    caller: CallerDep,
    session: ReadSessionDep,
    status: Annotated[list[StudyStatus], Query(description="Repeat it for several.")] = [],  # noqa: B006
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    after: Annotated[str | None, cursor("std")] = None,
) -> StudyPage:
    """The caller's studies, newest first."""
    if after is not None and not is_id("std", after):
        raise InvalidCursor
    rows, more = studies.page(session, caller.owner, status, after=after, limit=limit)
    return StudyPage(
        object="list",
        data=[study_view(*row) for row in rows],
        has_more=more,
        next=rows[-1][0].id if more else None,
    )


@router.get(
    "/{study_id}",
    response_model=StudyView,
    responses={
        304: {"description": "The study still has the version of `If-None-Match`."},
        **problems(StudyNotFound, SpecUnreadable),
    },
)
async def get_study(
    study_id: StudyId,
    caller: CallerDep,
    app: AppContextDep,
    response: Response,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description=wait_text("study"))] = 0,
    if_none_match: IfNoneMatch = None,
) -> Response | StudyView:
    """A study, now or once it is news."""
    channel = Channel(ChannelKind.STUDY, study_id)

    def find() -> StudyView:
        return _find(app, caller.owner, study_id)

    return await latest(app.hub, channel, find, response, wait_s=wait, if_none_match=if_none_match)


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
    with app.database.write() as session:
        study_jobs.cancel_jobs(session, study_id)
    view = _find(app, caller.owner, study_id)
    response.status_code = 200 if view.has_ended else 202
    response.headers["ETag"] = etag.etag_of(view.version)
    return view


@router.delete("/{study_id}", status_code=204, responses=problems(StudyNotFound, StudyNotFinished))
def delete_study(
    study_id: StudyId, caller: CallerDep, session: SessionDep, after_commit: AfterCommitDep, app: AppContextDep
) -> None:
    """Delete a study that has ended, with all of its jobs, their metrics, events and files."""
    job_ids = studies.remove(session, caller.owner, study_id)
    after_commit(lambda: _delete_files(app, [f"studies/{study_id}", *(f"jobs/{job_id}" for job_id in job_ids)]))


def _find(app: AppContext, owner: str, study_id: str) -> StudyView:
    with app.database.read() as session:
        return study_view(*studies.find(session, owner, study_id))


def _delete_files(app: AppContext, folders: list[str]) -> None:
    for folder in folders:
        try:
            app.blobs.delete_all(folder)
        except HeldoutError as error:
            log.warning("study_files_not_deleted", folder=folder, reason=error.detail)
