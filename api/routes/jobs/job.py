"""Jobs: list, get and wait, change, delete."""

from typing import Annotated

import structlog
from fastapi import Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.http import etag
from api.http.app_context import AppContext
from api.http.auth import CallerDep, KeyDep
from api.http.context import current_context
from api.http.deps import AfterCommitDep, AppContextDep, JobId, ReadSessionDep, SessionDep, cursor
from api.http.filters import METADATA_PARAMETER, FiltersDep
from api.http.problems import JSON_BODY, problems
from api.http.routing import resource
from api.live.hub import ChannelState
from api.live.recent_events import Channel, ChannelKind
from heldout.errors import (
    ChangedMeanwhile,
    HeldoutError,
    InvalidCursor,
    JobNotFinished,
    JobNotFound,
    JobNotQueued,
    PartOfStudy,
    SpecUnreadable,
    Unauthenticated,
)
from heldout.spec import MAX_PAIRS, MetadataKey, MetadataValue, Name, Priority
from heldout.views.job import JobPage, JobView
from models.database import Session
from models.ids import is_id
from models.store import job_lookup, jobs
from models.store.sorting import Sort
from models.tables import JobRow
from models.views.job import job_view

log = structlog.get_logger("heldout.api")

MAX_WAIT_S = 60

router = resource("/v1/jobs", "jobs")


@router.get(
    "",
    responses=problems(InvalidCursor, SpecUnreadable),
    openapi_extra=METADATA_PARAMETER,
)
def list_jobs(
    caller: CallerDep,
    session: ReadSessionDep,
    filters: FiltersDep,
    sort: Annotated[
        Sort,
        Query(
            description="`created`: the newest first. `name`: from A to Z. `best`: the highest validation accuracy, of "
            "the best epoch, first. `gap`: the widest first, to test or else validation. Jobs without the figure: last."
        ),
    ] = Sort.CREATED,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    after: Annotated[str | None, cursor("job")] = None,
) -> JobPage:
    """The caller's jobs, newest first or sorted."""
    if after is not None and not is_id("job", after):
        raise InvalidCursor
    rows, more = jobs.page(session, caller.owner, filters, after=after, limit=limit, sort=sort)
    datasets = jobs.datasets_of(session, rows)
    return JobPage(
        object="list",
        data=[job_view(row, datasets[row.dataset_id]) for row in rows],
        has_more=more,
        next=rows[-1].id if more else None,
    )


@router.get(
    "/{job_id}",
    response_model=JobView,
    responses={
        304: {"description": "The job still has the version of `If-None-Match`."},
        **problems(JobNotFound, SpecUnreadable),
    },
)
async def get_job(
    job_id: JobId,
    key: KeyDep,
    app: AppContextDep,
    response: Response,
    wait: Annotated[
        float,
        Query(
            ge=0,
            le=MAX_WAIT_S,
            description="Wait up to this many seconds: with `If-None-Match` until the version differs, "
            "without it until the job has ended.",
        ),
    ] = 0,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response | JobView:
    """A job, now or once it is news."""

    def is_news(state: ChannelState) -> bool:
        return state.has_ended if if_none_match is None else not etag.matches(if_none_match, state.version)

    view = await run_in_threadpool(_find, app, key, job_id)
    if wait and not is_news(ChannelState(view.version, has_ended=view.has_ended, last_event=0)):
        await app.hub.wait(Channel(ChannelKind.JOB, job_id), is_news, wait)
        view = await run_in_threadpool(_find, app, key, job_id)
    headers = {"ETag": etag.etag_of(view.version)}
    if if_none_match is not None and etag.matches(if_none_match, view.version):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return view


class JobChanges(BaseModel):
    """What can change of a job. An absent field stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    priority: Priority = Field(0, description="Of a queued job alone.")
    metadata: dict[MetadataKey, MetadataValue | None] = Field(
        default={}, max_length=2 * MAX_PAIRS, description="Merged with the job's pairs; null removes a key."
    )
    name: Name = ""


@router.patch("/{job_id}", responses=problems(JobNotFound, JobNotQueued, ChangedMeanwhile, SpecUnreadable, *JSON_BODY))
def change_job(
    job_id: JobId,
    changes: JobChanges,
    caller: CallerDep,
    session: SessionDep,
    response: Response,
    if_match: Annotated[
        str | None,
        Header(alias="If-Match", description="Change the job only while its `ETag` is this one, or one of these."),
    ] = None,
) -> JobView:
    """Change a job's name and metadata at any time, its priority while it is queued."""

    def require_version(version: int) -> None:
        if if_match is not None and not etag.allows_change(if_match, version):
            raise ChangedMeanwhile(job_id, if_match, etag.etag_of(version))

    wanted = changes.model_dump(exclude_unset=True)
    return job_answer(
        session, jobs.change(session, caller.owner, job_id, wanted, require_version=require_version), response
    )


@router.delete("/{job_id}", status_code=204, responses=problems(JobNotFound, JobNotFinished, PartOfStudy))
def delete_job(
    job_id: JobId, caller: CallerDep, session: SessionDep, after_commit: AfterCommitDep, app: AppContextDep
) -> None:
    """Delete a job that has ended, with its metrics, events and files."""
    jobs.remove(session, caller.owner, job_id)
    after_commit(lambda: _delete_files(app, job_id))


def job_answer(session: Session, job: JobRow, response: Response) -> JobView:
    """The job as it is now, its version in the ETag header."""
    response.headers["ETag"] = etag.etag_of(job.version)
    return job_view(job, jobs.dataset_of(session, job))


def _find(app: AppContext, key: str, job_id: str) -> JobView:
    """The job of the key's owner. Raises Unauthenticated, JobNotFound."""
    with app.database.read() as session:
        caller, found = job_lookup.find_with_key(session, key, job_id)
        if caller is None:
            raise Unauthenticated
        current_context().admit(caller)
        if found is None:
            raise JobNotFound(job_id)
        return job_view(*found)


def _delete_files(app: AppContext, job_id: str) -> None:
    try:
        app.blobs.delete_all(f"jobs/{job_id}")
    except HeldoutError as error:
        log.warning("job_files_not_deleted", job_id=job_id, reason=error.detail)
