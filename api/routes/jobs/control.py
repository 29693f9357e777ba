"""Cancels, pauses and resumes jobs."""

from typing import Any

from fastapi import Response

from api.http.auth import CallerDep
from api.http.deps import JobId, SessionDep
from api.http.problems import NO_ROOM, document_errors
from api.http.routing import make_router
from api.routes.jobs.job import answer_with_job
from heldout.errors import JobFinished, JobNotFound, JobNotPaused, SpecUnreadable
from heldout.lifecycle.job import JobStatus
from heldout.views.job import JobView
from models.store import jobs

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
