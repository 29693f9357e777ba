"""New jobs: from a spec, and from a job that has ended."""

from typing import Annotated

from fastapi import Query, Response
from starlette.responses import JSONResponse

from api.http.auth import CallerDep
from api.http.deps import AnnounceDep, AppContextDep, JobId, SessionDep
from api.http.idempotency import IdempotencyKey, once
from api.http.problems import JSON_BODY, REFUSED_SPEC, problems
from api.http.routing import resource
from heldout.errors import IdempotencyKeyInFlight, IdempotencyKeyReused, InvalidSpec, JobNotFinished, JobNotFound
from heldout.spec import JobSpec
from heldout.views.estimate import EstimateView
from heldout.views.job import JobView
from models import submit
from models.views.job import job_view

router = resource("/v1/jobs", "jobs")


@router.post(
    "",
    status_code=201,
    response_model=JobView,
    response_description="Queued.",
    responses={
        200: {"model": EstimateView, "description": "With `dry_run`: the spec is accepted, and nothing is stored."},
        **problems(IdempotencyKeyInFlight, IdempotencyKeyReused, *JSON_BODY, *REFUSED_SPEC),
    },
)
def submit_job(
    spec: JobSpec,
    response: Response,
    caller: CallerDep,
    app: AppContextDep,
    session: SessionDep,
    announce: AnnounceDep,
    idempotency_key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="Check the spec and say what it would cost, without a job.")] = False,
) -> Response | JobView:
    """Queue a training job; workers hear of it once it is committed."""
    max_parameters = app.settings.max_parameters
    if dry_run:
        estimate = submit.estimate(session, caller.owner, spec, max_parameters=max_parameters)
        return JSONResponse(estimate.model_dump(mode="json"))

    def queued() -> JobView:
        submitted = submit.submit(session, caller.owner, spec, max_parameters=max_parameters)
        announce(submitted.wake_up)
        return job_view(submitted.job, submitted.dataset)

    return once(session, caller.owner, idempotency_key, "POST /v1/jobs", spec, response, queued)


@router.post(
    "/{job_id}/retry",
    status_code=201,
    response_description="A new job with the same spec, seed included, and `retry_of`.",
    responses=problems(
        JobNotFound, JobNotFinished, IdempotencyKeyInFlight, IdempotencyKeyReused, InvalidSpec, *REFUSED_SPEC
    ),
)
def retry_job(
    job_id: JobId,
    response: Response,
    caller: CallerDep,
    app: AppContextDep,
    session: SessionDep,
    announce: AnnounceDep,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Queue a job that has ended once more, on the same version of its dataset."""

    def queued() -> JobView:
        submitted = submit.retry(session, caller.owner, job_id, max_parameters=app.settings.max_parameters)
        announce(submitted.wake_up)
        return job_view(submitted.job, submitted.dataset)

    return once(session, caller.owner, idempotency_key, f"POST /v1/jobs/{job_id}/retry", None, response, queued)
