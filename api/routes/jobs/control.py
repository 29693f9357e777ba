"""Cancels, pauses and resumes jobs, and says where they stand: their place in the queue and their events."""

from typing import Any

from fastapi import Response

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, JobId, ReadSessionDep, SessionDep
from api.http.problems import NO_ROOM, document_errors
from api.http.routing import make_router
from api.live.hub import Channel, ChannelKind
from api.routes import subject_events
from api.routes.jobs.job import answer_with_job
from api.routes.subject_events import AskedEventsDep
from heldout.errors import JobFinished, JobNotFound, JobNotPaused, SpecUnreadable
from heldout.lifecycle.job import JobStatus
from heldout.views.account import EventPage
from heldout.views.job import JobView, QueueView, WaitsFor
from models.database import Session
from models.store import calibrations, jobs, workers
from models.tables import JobRow

router = make_router("/v1/jobs/{job_id}", "jobs")

_REQUESTED: dict[int | str, dict[str, Any]] = {
    202: {"model": JobView, "description": "Requested from the job's worker, now or earlier."}
}


@router.post(
    "/cancel",
    response_description="The job was waiting, and is now cancelled.",
    responses={**_REQUESTED, **document_errors(JobNotFound, JobFinished, SpecUnreadable)},
)
def cancel_job(job_id: JobId, caller: CallerDep, session: SessionDep, response: Response) -> JobView:
    """Cancel a job. A running job is stopped by its worker. Complete epochs are kept."""
    job = jobs.cancel(session, caller.owner, job_id)
    response.status_code = 202 if job.status is JobStatus.RUNNING else 200
    return answer_with_job(session, job, response)


@router.post(
    "/pause",
    response_description="The job was waiting, and is now paused.",
    responses={**_REQUESTED, **document_errors(JobNotFound, JobFinished, SpecUnreadable)},
)
def pause_job(job_id: JobId, caller: CallerDep, session: SessionDep, response: Response) -> JobView:
    """Pause a job: one that waits at once, one that runs within half a second, by its worker, with a checkpoint."""
    job = jobs.pause(session, caller.owner, job_id)
    response.status_code = 202 if job.status is JobStatus.RUNNING else 200
    return answer_with_job(session, job, response)


@router.post(
    "/resume",
    response_description="The job, queued again.",
    responses=document_errors(JobNotFound, JobNotPaused, SpecUnreadable, *NO_ROOM),
)
def resume_job(job_id: JobId, caller: CallerDep, session: SessionDep, response: Response) -> JobView:
    """Queue a paused job again. It continues from its last checkpoint."""
    return answer_with_job(session, jobs.resume(session, caller.owner, job_id), response)


@router.get("/queue", responses=document_errors(JobNotFound))
def get_queue(job_id: JobId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep) -> QueueView:
    """Say where a job stands in its owner's queue, what it waits for, and when it should start.

    `waiting_for` is `worker`, `gpu`, `memory` (other jobs use it) or `backoff`. `estimated_start_s` is worked out from
    the jobs that start before it, those of other owners included, and from how long trainings have taken.
    """
    job = jobs.find(session, caller.owner, job_id)
    ahead = jobs.count_ahead_of(session, job)
    return QueueView(
        object="queue",
        position=None if ahead is None else ahead + 1,
        ahead=ahead,
        waiting_for=_find_waits_for(session, job),
        estimated_start_s=calibrations.estimate_start_s(session, job),
    )


def _find_waits_for(session: Session, job: JobRow) -> WaitsFor | None:
    if job.status is not JobStatus.QUEUED:
        return None
    if jobs.waits_for_backoff(session, job):
        return "backoff"
    if job.memory_bytes is not None and workers.is_short(session, job.memory_bytes):
        return "memory"
    return "gpu" if job.device == "gpu" else "worker"


@router.get("/events", response_model=EventPage, responses=subject_events.describe_responses("job", JobNotFound))
async def list_events(job_id: JobId, caller: CallerDep, asked: AskedEventsDep) -> Response | EventPage:
    """List the job's events, oldest first, or stream them as server-sent events."""
    channel = Channel(ChannelKind.JOB, job_id)
    return await asked.answer(channel, caller, lambda session: jobs.find(session, caller.owner, job_id))
