"""New jobs: from a spec, and from a job that has ended."""

import secrets
from typing import Annotated

from fastapi import Query, Response
from starlette.responses import JSONResponse

from api.http.auth import CallerDep
from api.http.deps import Announce, AnnounceDep, JobId, ServicesDep, SessionDep
from api.http.idempotency import IdempotencyKey, once
from api.http.problems import JSON_BODY, REFUSED_SPEC, problems
from api.http.routing import resource
from api.submission import dataset_for, examine, generated_name
from heldout.errors import IdempotencyKeyInFlight, IdempotencyKeyReused, InvalidSpec, JobNotFinished, JobNotFound
from heldout.layers import flops_per_image, memory_bytes
from heldout.spec import MAX_SEED, JobSpec
from heldout.views.estimate import EstimateView, LayerView
from heldout.views.job import JobView
from models.database import Session
from models.ids import new_id
from models.store import calibrations, jobs
from models.tables import DatasetRow
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
    services: ServicesDep,
    session: SessionDep,
    announce: AnnounceDep,
    idempotency_key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="Check the spec and say what it would cost, without a job.")] = False,
) -> Response | JobView:
    """Queue a training job; workers hear of it once it is committed."""
    cap = services.settings.max_parameters
    if dry_run:
        estimate = _estimate(session, spec, dataset_for(session, caller.owner, spec.dataset), cap)
        return JSONResponse(estimate.model_dump(mode="json"))

    def submit() -> JobView:
        return _queue(session, announce, caller.owner, spec, dataset_for(session, caller.owner, spec.dataset), cap)

    return once(session, caller.owner, idempotency_key, "POST /v1/jobs", spec, response, submit)


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

    def retry() -> JobView:
        ended = jobs.find(session, caller.owner, job_id)
        jobs.require_finished(ended)
        spec, dataset = JobSpec.model_validate(ended.spec), jobs.dataset_of(session, ended)
        return _queue(session, announce, caller.owner, spec, dataset, services.settings.max_parameters, ended.id)

    return once(session, caller.owner, idempotency_key, f"POST /v1/jobs/{job_id}/retry", None, response, retry)


def _queue(
    session: Session,
    announce: Announce,
    owner: str,
    spec: JobSpec,
    dataset: DatasetRow,
    max_parameters: int,
    retry_of: str | None = None,
) -> JobView:
    plan = examine(spec, dataset, max_parameters)
    job_id = new_id("job")
    complete = spec.completed(name=generated_name(spec, dataset, job_id), seed=secrets.randbelow(MAX_SEED + 1))
    job = jobs.add(
        session,
        job_id=job_id,
        owner=owner,
        spec=complete,
        dataset=dataset,
        parameters=plan.parameters,
        retry_of=retry_of,
    )
    announce(job)
    return job_view(job, dataset)


def _estimate(session: Session, spec: JobSpec, dataset: DatasetRow, max_parameters: int) -> EstimateView:
    plan = examine(spec, dataset, max_parameters)
    return EstimateView(
        object="estimate",
        spec=spec,
        parameters=plan.parameters,
        layers=[
            LayerView(name=layer.name, shape=list(layer.shape), parameters=layer.parameters) for layer in plan.layers
        ],
        flops_per_image=flops_per_image(plan.layers),
        memory_bytes=memory_bytes(
            plan.layers, plan.image, spec.training.batch_size, mixed=spec.training.precision == "mixed"
        ),
        seconds_per_epoch=calibrations.expected_epoch_s(calibrations.speeds(session), spec, dataset),
    )
