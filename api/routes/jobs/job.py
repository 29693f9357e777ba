"""Jobs: list, get and wait, change, delete."""

from typing import Annotated

import structlog
from fastapi import Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.http import etag
from api.http.app_context import AppContext
from api.http.auth import CallerDep, KeyDep
from api.http.context import current_context
from api.http.deps import AfterCommitDep, AppContextDep, JobId, ReadSessionDep, SessionDep, cursor
from api.http.filters import METADATA_PARAMETER, FiltersDep
from api.http.problems import JSON_BODY, problems
from api.http.routing import resource
from api.live.recent_events import Channel, ChannelKind
from api.routes.long_poll import MAX_WAIT_S, IfNoneMatch, latest, wait_text
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
from models.store import job_lookup, jobs, metrics
from models.store.sorting import Sort
from models.tables import JobRow
from models.views.job import job_view, listed_job_view

log = structlog.get_logger("heldout.api")

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
    curves: Annotated[
        int | None,
        Query(ge=2, le=100, description="Give each job its `curve`: the losses of at most so many of its epochs."),
    ] = None,
    queue: Annotated[bool, Query(description="Give each queued job its `queue_position`.")] = False,
) -> JobPage:
    """The caller's jobs, newest first or sorted."""
    if after is not None and not is_id("job", after):
        raise InvalidCursor
    rows, more = jobs.page(session, caller.owner, filters, after=after, limit=limit, sort=sort)
    datasets = jobs.datasets_of(session, rows)
    sketches = {} if curves is None else metrics.sketches_of(session, [row.id for row in rows], curves)
    positions = jobs.queue_positions(session, caller.owner, rows) if queue else {}
    return JobPage(
        object="list",
        data=[
            listed_job_view(
                row, datasets[row.dataset_id], curve=sketches.get(row.id), queue_position=positions.get(row.id)
            )
            for row in rows
        ],
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
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description=wait_text("job"))] = 0,
    if_none_match: IfNoneMatch = None,
) -> Response | JobView:
    """A job, now or once it is news."""
    channel = Channel(ChannelKind.JOB, job_id)

    def find() -> JobView:
        return _find(app, key, job_id)

    return await latest(app.hub, channel, find, response, wait_s=wait, if_none_match=if_none_match)


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
