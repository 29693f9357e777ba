"""What became of a job: metrics, events, its place in the queue, model and predictions."""

from base64 import b64encode
from typing import Annotated, Any, Literal

from fastapi import Header, Query, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api.http.auth import CallerDep
from api.http.deps import JobId, ReadSessionDep, ServicesDep
from api.http.problems import problems
from api.http.routing import resource
from api.http.services import Services
from api.live import streams
from api.live.streams import EventStream
from heldout.errors import InvalidCursor, JobNotFound, NotReady, StorageUnavailable
from heldout.lifecycle import JobStatus, shown_status
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.views.event import EventPage
from heldout.views.metrics import MetricsView
from heldout.views.queue import QueueView
from models.blobs import BlobMissing, Blobs
from models.database import Session
from models.store import artifacts, calibrations, events, jobs, metrics
from models.store.artifacts import Artifact
from models.store.keys import Caller
from models.tables import JobRow
from models.views.event import event_view
from models.views.metrics import metrics_view

router = resource("/v1/jobs/{job_id}", "jobs")

# An event's number is a 32-bit column.
MAX_EVENT = 2**31 - 1


@router.get("/metrics", response_model_exclude_unset=True, responses=problems(JobNotFound))
def get_metrics(job_id: JobId, caller: CallerDep, session: ReadSessionDep) -> MetricsView:
    """The job's history, epoch by epoch, and its final figures."""
    job = jobs.find(session, caller.owner, job_id)
    with_test = job.spec["evaluation"]["test"] == "every_epoch"
    result = metrics.result_of(session, job_id)
    return metrics_view(metrics.epochs_of(session, job_id), result, with_test=with_test)


_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `Accept: text/event-stream` the events as they come (`id`, `event` and the event as "
        "`data`), until the job has ended.",
        "content": {streams.MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    204: {"description": "The stream of a job that has ended and has no further event: do not connect again."},
    **problems(JobNotFound, InvalidCursor),
}


@router.get("/events", response_model=EventPage, responses=_EVENTS)
async def list_events(
    job_id: JobId,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    after: Annotated[
        str, Query(description="Number of the last event that is known.", json_schema_extra={"pattern": "^[0-9]{1,9}$"})
    ] = "0",
    limit: Annotated[int, Query(ge=1, le=200, description="Of a list; a stream has none.")] = 20,
    last_event_id: Annotated[
        str,
        Header(
            alias="Last-Event-ID",
            description="The same as `after`, and wins.",
            json_schema_extra={"pattern": "^[0-9]{0,9}$"},
        ),
    ] = "",
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response | EventPage:
    """What happened to the job, oldest first: a list, or a stream of server-sent events."""
    cursor = _event_number(after)
    if last_event_id:
        cursor = _event_number(last_event_id)
    if streams.wants_stream(accept):
        return await run_in_threadpool(_stream, services, caller, job_id, cursor)
    response.headers["Vary"] = "Accept"
    return await run_in_threadpool(_event_page, services, caller, job_id, cursor, limit)


def _event_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_EVENT):
        raise InvalidCursor
    return int(text)


def _event_page(services: Services, caller: Caller, job_id: str, after: int, limit: int) -> EventPage:
    with services.database.read() as session:
        jobs.find(session, caller.owner, job_id)
        rows, more = events.page(session, job_id, after=after, limit=limit)
    return EventPage(
        object="list",
        data=[event_view(row) for row in rows],
        has_more=more,
        next=rows[-1].id if more else None,
    )


def _stream(services: Services, caller: Caller, job_id: str, after: int) -> Response:
    """The stream, or the word that there will be none: a browser connects again after any other end."""
    with services.database.read() as session:
        job = jobs.find(session, caller.owner, job_id)
        rows, _ = events.page(session, job_id, after=after, limit=streams.PAGE)
    if not rows and job.finished_at is not None:
        return Response(status_code=204)
    first = [streams.wire_of(row) for row in rows]
    return EventStream(services.hub, job_id, cursor=after, first=first, last=job.last_event, key_id=caller.key_id)


@router.get("/queue", responses=problems(JobNotFound))
def get_queue(job_id: JobId, caller: CallerDep, session: ReadSessionDep) -> QueueView:
    """The job's place in the queue."""
    job = jobs.find(session, caller.owner, job_id)
    ahead = jobs.ahead_of(session, job)
    return QueueView(
        object="queue",
        position=None if ahead is None else ahead + 1,
        ahead=ahead,
        waiting_for=_waiting_for(session, job),
        estimated_start_s=calibrations.estimated_start_s(session, job),
    )


_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "Repr-Digest": {
                "description": "The file's SHA-256 (RFC 9530); absent where an earlier release has stored it.",
                "schema": {"type": "string"},
            }
        },
    },
    **problems(JobNotFound, NotReady, StorageUnavailable),
}


@router.get("/model", response_class=StreamingResponse, responses=_FILE)
def get_model(job_id: JobId, caller: CallerDep, session: ReadSessionDep, services: ServicesDep) -> StreamingResponse:
    """The kept weights as a `.keras` file: takes raw pixels of the dataset's own range, gives probabilities."""
    model = _artifact_of(session, caller.owner, job_id, ArtifactName.MODEL, ArtifactFormat.KERAS)
    return _download(services.blobs, model, f"{job_id}.keras")


@router.get("/predictions", response_class=StreamingResponse, responses=_FILE)
def get_predictions(
    job_id: JobId, caller: CallerDep, session: ReadSessionDep, services: ServicesDep
) -> StreamingResponse:
    """An `.npz` file: for each split the indices, labels and probabilities of the kept weights."""
    predictions = _artifact_of(session, caller.owner, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    return _download(services.blobs, predictions, f"{job_id}-predictions.npz")


def _artifact_of(session: Session, owner: str, job_id: str, name: ArtifactName, format_: ArtifactFormat) -> Artifact:
    """A file of the owner's job. Raises JobNotFound, NotReady."""
    job = jobs.find(session, owner, job_id)
    artifact = artifacts.find(session, job_id, name, format_)
    if artifact is None:
        raise NotReady(job_id, name.value, shown_status(job.status, job.request))
    return artifact


def _download(blobs: Blobs, artifact: Artifact, filename: str) -> StreamingResponse:
    try:
        size_bytes = blobs.size(artifact.key) if artifact.size_bytes is None else artifact.size_bytes
        chunks = blobs.chunks(artifact.key)
    except BlobMissing as error:
        raise StorageUnavailable from error
    headers = {"Content-Length": str(size_bytes), "Content-Disposition": f'attachment; filename="{filename}"'}
    if artifact.sha256 is not None:
        headers["ETag"] = f'"{artifact.sha256}"'
        headers["Repr-Digest"] = f"sha-256=:{b64encode(bytes.fromhex(artifact.sha256)).decode()}:"
    return StreamingResponse(chunks, headers=headers, media_type="application/octet-stream")


def _waiting_for(session: Session, job: JobRow) -> Literal["worker", "gpu", "backoff"] | None:
    if job.status is not JobStatus.QUEUED:
        return None
    if jobs.waits_for_backoff(session, job):
        return "backoff"
    return "gpu" if job.device == "gpu" else "worker"
