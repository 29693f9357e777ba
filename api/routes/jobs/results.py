"""Results of a job: metrics, model and predictions."""

from base64 import b64encode
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import StreamingResponse

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, JobId, ReadSessionDep
from api.http.problems import problems
from api.http.routing import resource
from heldout.errors import JobNotFound, NotReady, StorageUnavailable
from heldout.lifecycle import shown_status
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, PredictionsFormat
from heldout.views.metrics import MetricsView
from models.blobs import BlobMissing, Blobs
from models.database import Session
from models.predictions_csv import csv_chunks
from models.store import artifacts, jobs, metrics
from models.store.artifacts import Artifact
from models.views.metrics import metrics_view

router = resource("/v1/jobs/{job_id}", "jobs")


@router.get("/metrics", response_model_exclude_unset=True, responses=problems(JobNotFound))
def get_metrics(job_id: JobId, caller: CallerDep, session: ReadSessionDep) -> MetricsView:
    """The job's history, epoch by epoch, and its final figures."""
    job = jobs.find(session, caller.owner, job_id)
    with_test = job.spec["evaluation"]["test"] == "every_epoch"
    final = metrics.final_of(session, job_id)
    return metrics_view(metrics.epochs_of(session, job_id), final, with_test=with_test)


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


_PREDICTIONS = {
    **_FILE,
    200: {**_FILE[200], "content": {**_FILE[200]["content"], "text/csv": {"schema": {"type": "string"}}}},
}


@router.get("/model", response_class=StreamingResponse, responses=_FILE)
def get_model(job_id: JobId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep) -> StreamingResponse:
    """The kept weights as a `.keras` file: takes raw pixels of the dataset's own range, gives probabilities."""
    model = _artifact_of(session, caller.owner, job_id, ArtifactName.MODEL, ArtifactFormat.KERAS)
    return _download(app.blobs, model, f"{job_id}.keras")


@router.get("/predictions", response_class=StreamingResponse, responses=_PREDICTIONS)
def get_predictions(
    job_id: JobId,
    caller: CallerDep,
    session: ReadSessionDep,
    app: AppContextDep,
    format_: Annotated[
        PredictionsFormat, Query(alias="format", description="`csv`: a table with one line for each image.")
    ] = "npz",
) -> StreamingResponse:
    """What the kept weights say of each image, by split, with the names of classes and files."""
    predictions = _artifact_of(session, caller.owner, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if format_ == "npz":
        return _download(app.blobs, predictions, f"{job_id}-predictions.npz")
    classes = jobs.dataset_of(session, jobs.find(session, caller.owner, job_id)).classes or []
    return _table(csv_chunks(app.blobs, predictions.key, classes), f"{job_id}-predictions.csv")


def _table(chunks: Iterator[bytes], filename: str) -> StreamingResponse:
    try:
        first = next(chunks)  # what is wrong with the file is told before the answer begins
    except BlobMissing as error:
        raise StorageUnavailable from error
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return StreamingResponse(chain([first], chunks), headers=headers, media_type="text/csv; charset=utf-8")


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
