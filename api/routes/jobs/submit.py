"""New jobs, from a spec or from a job that has ended."""

from typing import Annotated

from fastapi import Query
from starlette.responses import JSONResponse, Response

from analysis.jobs.examination import RetrySpec
from api.http.deps import JobId, WriteContext
from api.http.idempotency import IdempotentRequestDep
from api.http.problems import NO_ROOM, REFUSED_SPEC, raises
from api.http.routing import make_router
from heldout import errors
from heldout.spec.job import JobSpec
from heldout.views.job import EstimateView, JobView
from models import job_creation
from models.views.job import build_job_view

router = make_router("/v1/jobs", "jobs")


@router.post(
    "",
    status_code=201,
    response_model=JobView,
    response_description="The queued job.",
    responses={
        200: {
            "model": EstimateView,
            "description": "With `dry_run`: the cost of the accepted spec. Nothing is stored.",
        },
    },
)
@raises(*NO_ROOM, *REFUSED_SPEC)
def submit_job(
    spec: JobSpec,
    context: WriteContext,
    idempotent: IdempotentRequestDep,
    dry_run: Annotated[bool, Query(description="Check the spec and estimate its cost without creating a job.")] = False,
) -> Response | JobView:
    """Queue a training job."""
    max_parameters = context.app.settings.max_parameters
    if dry_run:
        estimate = job_creation.estimate(
            context.session, context.blobs, context.owner, spec, max_parameters=max_parameters
        )
        return JSONResponse(estimate.model_dump(mode="json"))

    def queue() -> JobView:
        return build_job_view(
            *job_creation.create_job(context.session, context.blobs, context.owner, spec, max_parameters=max_parameters)
        )

    return idempotent.make(context.session, spec, queue)


@router.post(
    "/{job_id}/retry",
    status_code=201,
    response_description="A new job with `retry_of` and the same spec, including the seed, or the changed spec.",
)
@raises(errors.JobNotFinished, errors.StateGone, errors.FileOfLaterRelease, *NO_ROOM, *REFUSED_SPEC)
def retry_job(
    job_id: JobId,
    context: WriteContext,
    idempotent: IdempotentRequestDep,
    asked: RetrySpec = RetrySpec(),  # noqa: B008 - frozen
) -> JobView:
    """Queue a job that has ended once more: as it was, for more epochs from its last state, or with a change.

    An empty body (`{}`) repeats it as it was.
    """

    def queue() -> JobView:
        submitted = job_creation.retry(
            context.session,
            context.blobs,
            context.owner,
            job_id,
            asked,
            max_parameters=context.app.settings.max_parameters,
        )
        return build_job_view(*submitted)

    return idempotent.make(context.session, asked if asked.model_fields_set else None, queue)
