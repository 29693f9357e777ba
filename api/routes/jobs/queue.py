"""A job's position in the queue, and when it should start."""

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, JobId, ReadSessionDep
from api.http.problems import document_errors
from api.http.routing import make_router
from heldout.errors import JobNotFound
from heldout.lifecycle.job import JobStatus
from heldout.views.job import QueueView, WaitsFor
from models.database import Session
from models.store import calibrations, jobs, workers
from models.tables import JobRow

router = make_router("/v1/jobs/{job_id}", "jobs")


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
