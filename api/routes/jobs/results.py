"""Results of a job: metrics, model and predictions."""

from typing import Any

from starlette.responses import StreamingResponse

from api.http.auth import CallerDep
from api.http.deps import JobId, ReadSessionDep, ServicesDep
from api.http.problems import problems
from api.http.routing import resource
from api.http.services import Services
from heldout.errors import JobNotFound, NotReady, StorageUnavailable
from heldout.lifecycle import shown_status
from heldout.views.metrics import MetricsView
from models.blobs import BlobMissing
from models.database import Session
from models.store import jobs, metrics
from models.tables import ResultRow
from models.views.metrics import metrics_view

router = resource("/v1/jobs/{job_id}", "jobs")


@router.get("/metrics", response_model_exclude_unset=True, responses=problems(JobNotFound))
def get_metrics(job_id: JobId, caller: CallerDep, session: ReadSessionDep) -> MetricsView:
    """The job's history, epoch by epoch, and its final figures."""
    job = jobs.find(session, caller.owner, job_id)
    with_test = job.spec["evaluation"]["test"] == "every_epoch"
    result = metrics.result_of(session, job_id)
    return metrics_view(metrics.epochs_of(session, job_id), result, with_test=with_test)


_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    **problems(JobNotFound, NotReady, StorageUnavailable),
}


@router.get("/model", response_class=StreamingResponse, responses=_FILE)
def get_model(job_id: JobId, caller: CallerDep, session: ReadSessionDep, services: ServicesDep) -> StreamingResponse:
    """The kept weights as a `.keras` file: takes raw pixels of the dataset's own range, gives probabilities."""
    result = _result_of(session, caller.owner, job_id, "model")
    return _download(services, result.model_key, f"{job_id}.keras")


@router.get("/predictions", response_class=StreamingResponse, responses=_FILE)
def get_predictions(
    job_id: JobId, caller: CallerDep, session: ReadSessionDep, services: ServicesDep
) -> StreamingResponse:
    """An `.npz` file: for each split the indices, labels and probabilities of the kept weights."""
    result = _result_of(session, caller.owner, job_id, "predictions")
    return _download(services, result.predictions_key, f"{job_id}-predictions.npz")


def _result_of(session: Session, owner: str, job_id: str, what: str) -> ResultRow:
    job = jobs.find(session, owner, job_id)
    result = metrics.result_of(session, job_id)
    if result is None:
        raise NotReady(job_id, what, shown_status(job.status, job.request))
    return result


def _download(services: Services, key: str, filename: str) -> StreamingResponse:
    try:
        size = services.blobs.size(key)
        chunks = services.blobs.chunks(key)
    except BlobMissing as error:
        raise StorageUnavailable from error
    headers = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{filename}"'}
    return StreamingResponse(chunks, headers=headers, media_type="application/octet-stream")
