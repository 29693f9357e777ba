"""Lists, returns, changes, deletes, cancels, pauses and resumes jobs, and shows their place in the queue and events."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote_plus

from fastapi import Header, Query, Request, Response
from pydantic import Field

from api.http.app_context import AppContext
from api.http.auth import CallerContext, KeyDep
from api.http.body import Body
from api.http.context import RequestContext, get_current_context
from api.http.deps import AppContextDep, JobId, ReadContext, WriteContext
from api.http.parameters import METADATA_PARAMETER, AskedPage, FiltersDep, make_page_dependency
from api.http.problems import NO_ROOM, raises
from api.http.routing import make_router
from api.live.source import Channel, ChannelKind
from api.routes.events import Answered, AskedEventsDep, describe_subject_responses
from api.routes.long_poll import LongPoll, allows_change, describe_not_changed, make_long_poll, write_etag
from heldout import errors
from heldout.errors import HeldoutError
from heldout.lifecycle.job import JobStatus
from heldout.spec.job import MAX_PAIRS, MetadataKey, MetadataValue, Name, Priority
from heldout.views.account import EventPage
from heldout.views.base import make_view
from heldout.views.job import (
    MAX_CANCELLED_AT_ONCE,
    MAX_NAMED_AT_ONCE,
    CancellationView,
    JobPage,
    JobView,
    ListedJobView,
    NamedCancellationView,
    QueueView,
    WaitsFor,
)
from models.database import Database, Session
from models.store import calibrations, jobs, metrics, quotas, sessions, workers
from models.store.listing import Sort
from models.tables import JobRow
from models.views.job import build_job_view

router = make_router("/v1/jobs", "jobs")

T = TypeVar("T")

# This many are cancelled in a few hundredths of a second, for which SQLite's other writers wait.
JOBS_AT_ONCE = 50


@router.get("", openapi_extra=METADATA_PARAMETER)
@raises(errors.SpecUnreadable)
def list_jobs(
    context: ReadContext,
    asked: Annotated[AskedPage, make_page_dependency("job")],
    filters: FiltersDep,
    sort: Annotated[
        Sort,
        Query(
            description="`created`: the newest first. `name`: from A to Z. `best`: the highest validation accuracy of "
            "any epoch first. `gap`: the widest first, to test or else validation. Jobs without the figure: last."
        ),
    ] = Sort.CREATED,
    curves: Annotated[
        int | None,
        Query(ge=2, le=100, description="Include each job's `curve`: the losses of at most this many epochs."),
    ] = None,
    queue: Annotated[bool, Query(description="Include the `queue_position` of each queued job.")] = False,
) -> JobPage:
    """List your jobs, newest first or sorted."""
    ids = jobs.list_page(context.session, context.owner, filters, after=asked.after, limit=asked.limit, sort=sort)
    sketches = {} if curves is None else metrics.get_sketches(context.session, ids, curves)
    positions = jobs.get_queue_positions(context.session, context.owner, ids) if queue else {}

    def build_views(block: Sequence[str]) -> list[ListedJobView]:
        return [
            make_view(ListedJobView, job, curve=sketches.get(job.id), queue_position=positions.get(job.id))
            for job in (build_job_view(*both) for both in jobs.get_listed(context.session, block))
        ]

    return asked.fill(JobPage, ids, build_views)


@router.get("/{job_id}", response_model=JobView, responses=describe_not_changed("job"))
@raises(errors.SpecUnreadable)
async def get_job(
    job_id: JobId,
    key: KeyDep,
    app: AppContextDep,
    poll: Annotated[LongPoll, make_long_poll("job")],
) -> Response | JobView:
    """Get a job, now or once it has changed. Once it has ended, `summary` has its best epoch, gap and verdict."""

    def find() -> JobView:
        return _find(app, key, job_id)

    return await poll.wait_for_latest(Channel(ChannelKind.JOB, job_id), find)


class JobChanges(Body):
    """The changes to a job. Absent fields stay unchanged."""

    priority: Priority = Field(0, description="Can only be changed while the job is queued.")
    metadata: dict[MetadataKey, MetadataValue | None] = Field(
        default={}, max_length=2 * MAX_PAIRS, description="Merged with the job's pairs. Null removes a key."
    )
    name: Name = ""


@router.patch("/{job_id}")
@raises(errors.JobNotQueued, errors.ChangedMeanwhile, errors.SpecUnreadable)
def change_job(
    job_id: JobId,
    changes: JobChanges,
    context: WriteContext,
    response: Response,
    if_match: Annotated[
        str | None,
        Header(alias="If-Match", description="Change the job only if its `ETag` is one of these."),
    ] = None,
) -> JobView:
    """Change a job's name and metadata at any time, or its priority while it is queued."""

    def require_version(version: int) -> None:
        if if_match is not None and not allows_change(if_match, version):
            raise errors.ChangedMeanwhile(job_id, if_match, write_etag(version))

    wanted = changes.model_dump(exclude_unset=True)
    return answer_with_job(
        context.session,
        jobs.change(context.session, context.owner, job_id, wanted, require_version=require_version),
        response,
    )


@router.delete("/{job_id}", status_code=204)
@raises(errors.JobNotFinished, errors.PartOfStudy)
def delete_job(job_id: JobId, context: WriteContext) -> None:
    """Delete a job that has ended, with its metrics, events, files, experiments and heatmaps."""
    for removed in jobs.remove(context.session, context.owner, job_id):
        context.delete_files(f"jobs/{removed}")


def answer_with_job(session: Session, job: JobRow, response: Response) -> JobView:
    """Answer with the current job, and its version in the ETag header."""
    response.headers["ETag"] = write_etag(job.version)
    return build_job_view(job, jobs.get_dataset(session, job))


def _find(app: AppContext, key: str, job_id: str) -> JobView:
    """Find a job of the key's owner. Raises Unauthenticated, JobNotFound."""
    with app.database.read() as session:
        caller, found = sessions.find_with_key(session, key, job_id)
        if caller is None:
            raise errors.Unauthenticated
        get_current_context().admit(caller)
        if found is None:
            raise errors.JobNotFound(job_id)
        return build_job_view(*found)


class NamedJobs(Body):
    """The ids of the jobs to cancel."""

    ids: list[Annotated[str, Field(max_length=40)]] = Field([], max_length=MAX_NAMED_AT_ONCE)


@router.post("/cancel", status_code=202, response_model_exclude_unset=True, openapi_extra=METADATA_PARAMETER)
def cancel_jobs(
    request: Request,
    context: CallerContext,
    filters: FiltersDep,
    named: NamedJobs = NamedJobs(),  # noqa: B008 - frozen
) -> CancellationView:
    """Cancel every job of the caller that the filters match, or the jobs whose `ids` the body lists.

    Filters cancel at most 1,000 jobs in one request, and `has_more` says whether others match. For `ids`, `jobs` in the
    answer says what became of each one: its `status`, or a `code` that says why it was not cancelled.
    """
    if bool(filters) == bool(named.ids):
        raise errors.InvalidParameter(
            f"Received {'both filters and ids' if filters else 'no filter'}. Send either a body with `ids`, or at "
            "least one of `status`, `dataset`, `study`, `search` and `metadata[key]`. "
            "`?status=queued&status=running&status=paused` matches all unfinished jobs."
        )
    if named.ids:
        return _cancel_named(context, named.ids)
    with context.read() as session:
        ids, has_more = jobs.list_cancellable(session, context.owner, filters, limit=MAX_CANCELLED_AT_ONCE)
    with context.write() as session:
        context.note_changes(session, [unquote_plus(request.url.query)])
    counts = _cancel_in_pieces(context.app.database, ids, jobs.cancel_listed)
    return CancellationView(
        object="cancellation",
        cancelled=sum(cancelled for cancelled, _ in counts),
        cancelling=sum(cancelling for _, cancelling in counts),
        has_more=has_more,
    )


def _cancel_in_pieces(database: Database, ids: list[str], cancel: Callable[[Session, Sequence[str]], T]) -> list[T]:
    """Cancel the jobs in several transactions, between which other owners' requests have their turn.

    Args:
        ids: in ascending order.
        cancel: cancels some of them.

    Returns:
        What `cancel` returned for each transaction.
    """
    results: list[T] = []

    def cancel_next(session: Session, after: str) -> str | None:
        piece = [job_id for job_id in ids if job_id > after][:JOBS_AT_ONCE]
        results.append(cancel(session, piece))
        return piece[-1] if len(piece) == JOBS_AT_ONCE else None

    database.write_in_pieces(cancel_next)
    return results


def _cancel_named(context: RequestContext, ids: list[str]) -> CancellationView:
    change = context.change

    def cancel(session: Session, piece: Sequence[str]) -> dict[str, jobs.Cancellation]:
        ends = jobs.cancel_named(session, context.owner, piece)
        context.change = change  # each transaction notes its own jobs
        context.note_changes(session, [job_id for job_id, end in ends.items() if not isinstance(end, HeldoutError)])
        return ends

    pieces = _cancel_in_pieces(context.app.database, sorted(set(ids)), cancel)
    by_id = {job_id: end for piece in pieces for job_id, end in piece.items()}
    ends = {job_id: by_id[job_id] for job_id in dict.fromkeys(ids)}
    results = [
        NamedCancellationView(
            id=job_id,
            status=None if isinstance(end, HeldoutError) else end,
            code=end.code if isinstance(end, HeldoutError) else None,
        )
        for job_id, end in ends.items()
    ]
    return CancellationView(
        object="cancellation",
        cancelled=sum(result.status == "cancelled" for result in results),
        cancelling=sum(result.status == "cancelling" for result in results),
        has_more=False,
        jobs=results,
    )


_REQUESTED: dict[int | str, dict[str, Any]] = {
    202: {"model": JobView, "description": "Requested from the job's worker, now or earlier."}
}


@router.post(
    "/{job_id}/cancel", response_description="The job was waiting, and is now cancelled.", responses=_REQUESTED
)
@raises(errors.JobFinished, errors.SpecUnreadable)
def cancel_job(job_id: JobId, context: WriteContext, response: Response) -> JobView:
    """Cancel a job. A running job is stopped by its worker. Complete epochs are kept."""
    job = jobs.cancel(context.session, context.owner, job_id)
    response.status_code = 202 if job.status is JobStatus.RUNNING else 200
    return answer_with_job(context.session, job, response)


@router.post("/{job_id}/pause", response_description="The job was waiting, and is now paused.", responses=_REQUESTED)
@raises(errors.JobFinished, errors.SpecUnreadable)
def pause_job(job_id: JobId, context: WriteContext, response: Response) -> JobView:
    """Pause a job: one that waits at once, one that runs within half a second, by its worker, with a checkpoint."""
    job = jobs.pause(context.session, context.owner, job_id)
    response.status_code = 202 if job.status is JobStatus.RUNNING else 200
    return answer_with_job(context.session, job, response)


@router.post("/{job_id}/resume", response_description="The job, queued again.")
@raises(errors.JobNotPaused, errors.SpecUnreadable, *NO_ROOM)
def resume_job(job_id: JobId, context: WriteContext, response: Response) -> JobView:
    """Queue a paused job again. It continues from its last checkpoint."""
    return answer_with_job(context.session, jobs.resume(context.session, context.owner, job_id), response)


@router.get("/{job_id}/queue")
def get_queue(job_id: JobId, context: ReadContext) -> QueueView:
    """Say where a job stands in its owner's queue, what it waits for, and when it should start.

    `waiting_for` is `worker`, `gpu`, `memory` (other jobs use it), `backoff` or `quota`. `estimated_start_s` is worked
    out from the jobs that start before it, those of other owners included, and from how long trainings have taken.
    """
    job = jobs.find(context.session, context.owner, job_id)
    ahead = jobs.count_ahead_of(context.session, job)
    return QueueView(
        object="queue",
        position=None if ahead is None else ahead + 1,
        ahead=ahead,
        waiting_for=_find_waits_for(context.session, job),
        estimated_start_s=calibrations.estimate_start_s(context.session, job),
    )


def _find_waits_for(session: Session, job: JobRow) -> WaitsFor | None:
    if job.status is not JobStatus.QUEUED:
        return None
    if jobs.waits_for_backoff(session, job):
        return "backoff"
    if quotas.holds_back(session, job.owner):
        return "quota"
    if job.memory_bytes is not None and workers.is_short(session, job.memory_bytes):
        return "memory"
    return "gpu" if job.device == "gpu" else "worker"


@router.get("/{job_id}/events", response_model=EventPage, responses=describe_subject_responses("job"))
async def list_events(job_id: JobId, context: CallerContext, asked: AskedEventsDep) -> Answered:
    """List the job's events, oldest first, or stream them as server-sent events."""
    channel = Channel(ChannelKind.JOB, job_id)
    return await asked.answer(channel, lambda session: jobs.find(session, context.owner, job_id))
