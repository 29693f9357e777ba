"""What can be asked of a job: cancel, pause, resume."""

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

_ASKED: dict[int | str, dict[str, Any]] = {
    202: {"model": JobView, "description": "Its worker was asked to, now or before."}
}


@router.post(
    "/cancel",
    response_description="It was waiting, and is cancelled.",
    responses={**_ASKED, **document_errors(JobNotFound, JobFinished, SpecUnreadable)},
)
def cancel_job(job_id: JobId, caller: CallerDep, session: SessionDep, response: Response) -> JobView:
    """Cancel a job: one that waits at once, one that runs through its worker. Whole epochs are kept."""
    job = jobs.cancel(session, caller.owner, job_id)
    response.status_code = 202 if job.status is JobStatus.RUNNING else 200
    return answer_with_job(session, job, response)


@router.post(
    "/pause",
    response_description="It was waiting, and is paused.",
    responses={**_ASKED, **document_errors(JobNotFound, JobFinished, SpecUnreadable)},
)
def pause_job(job_id: JobId, caller: CallerDep, session: SessionDep, response: Response) -> JobView:
    """Pause a job: one that waits at once, one that runs within half a second, by its worker, with a checkpoint."""
    job = jobs.pause(session, caller.owner, job_id)
    response.status_code = 202 if job.status is JobStatus.RUNNING else 200
    return answer_with_job(session, job, response)


@router.post(
    "/resume",
    response_description="Back in the queue.",
    responses=document_errors(JobNotFound, JobNotPaused, SpecUnreadable, *NO_ROOM),
)
def resume_job(job_id: JobId, caller: CallerDep, session: SessionDep, response: Response) -> JobView:
    """Put a paused job back into the queue; it continues from its last checkpoint."""
    return answer_with_job(session, jobs.resume(session, caller.owner, job_id), response)
