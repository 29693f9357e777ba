"""New jobs: from a spec, and from a job that has ended."""

from typing import Annotated, Literal

from fastapi import Query, Response
from pydantic import Field
from starlette.responses import JSONResponse

from api.http.auth import CallerDep
from api.http.deps import AnnounceDep, JobId, ServicesDep, SessionDep
from api.http.idempotency import IdempotencyKey, once
from api.http.problems import JSON_BODY, REFUSED_SPEC, problems
from api.http.routing import resource
from api.views import JobView, View
from heldout.errors import IdempotencyKeyInFlight, IdempotencyKeyReused, InvalidSpec, JobNotFinished, JobNotFound
from heldout.spec import JobSpec
from models import submit
from models.submit import Estimate

router = resource("/v1/jobs", "jobs")


class LayerView(View):
    """A layer by its Keras name, its output shape without the batch axis, and its parameters."""

    name: str
    shape: list[int]
    parameters: int


class EstimateView(View):
    """What a spec would cost. `name` and `training.seed` are null where a job would draw them."""

    object: Literal["estimate"]
    spec: JobSpec
    parameters: int
    layers: list[LayerView]
    flops_per_image: int = Field(description="Of one forward pass; a multiply-add counts as two.")
    memory_bytes: int = Field(description="Of one training step, data excluded.")
    seconds_per_epoch: float | None = Field(
        description="Of a job alone on a machine as fast as the workers' own; null until one was measured."
    )

    @classmethod
    def of(cls, spec: JobSpec, estimate: Estimate) -> "EstimateView":
        plan = estimate.plan
        return cls(
            object="estimate",
            spec=spec,
            parameters=plan.parameters,
            layers=[LayerView(name=one.name, shape=list(one.shape), parameters=one.parameters) for one in plan.layers],
            flops_per_image=plan.flops_per_image,
            memory_bytes=estimate.memory_bytes,
            seconds_per_epoch=estimate.seconds_per_epoch,
        )


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
    services: ServicesDep,
    session: SessionDep,
    announce: AnnounceDep,
    idempotency_key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="Check the spec and say what it would cost, without a job.")] = False,
) -> Response | JobView:
    """Queue a training job; workers hear of it once it is committed."""
    max_parameters = services.settings.max_parameters
    if dry_run:
        estimate = submit.estimate(session, caller.owner, spec, max_parameters=max_parameters)
        return JSONResponse(EstimateView.of(spec, estimate).model_dump(mode="json"))

    def queued() -> JobView:
        submitted = submit.submit(session, caller.owner, spec, max_parameters=max_parameters)
        announce(submitted.wake_up)
        return JobView.of(submitted.job, submitted.dataset)

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
    services: ServicesDep,
    session: SessionDep,
    announce: AnnounceDep,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Queue a job that has ended once more, on the same version of its dataset."""

    def queued() -> JobView:
        submitted = submit.retry(session, caller.owner, job_id, max_parameters=services.settings.max_parameters)
        announce(submitted.wake_up)
        return JobView.of(submitted.job, submitted.dataset)

    return once(session, caller.owner, idempotency_key, f"POST /v1/jobs/{job_id}/retry", None, response, queued)
