"""Results of a job: metrics, splits and predictions."""

from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, JobId, ReadSessionDep
from api.http.places import sends_much
from api.http.problems import document_errors
from api.http.routing import make_router
from api.routes.downloads import FILE, attach, download, make_indices_response
from api.turns import Turns
from heldout import errors
from heldout.integrations.keras_history import HistoryFormat, build_keras_history, write_csv
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, PredictionsFormat
from heldout.views.dataset import IndicesView
from heldout.views.results import EpochView, MetricsView
from models.blobs import raise_if_missing
from models.predictions import iterate_csv
from models.specs import read_training_spec
from models.store import artifacts, jobs, metrics
from models.store.metrics import MIN_POINTS, thin_out
from models.stored_splits import read_stored_splits
from models.tables import EpochRow

router = make_router("/v1/jobs/{job_id}", "jobs")


# A separate media type, so that `application/json` means a single type for generated clients.
HISTORY = "application/vnd.heldout.history+json"
_METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            HISTORY: {
                "schema": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}},
                }
            },
            "text/csv": {"schema": {"type": "string"}},
        }
    },
    **document_errors(errors.JobNotFound),
}


@router.get("/metrics", response_model=MetricsView, response_model_exclude_unset=True, responses=_METRICS)
def get_metrics(
    job_id: JobId,
    caller: CallerDep,
    session: ReadSessionDep,
    points: Annotated[
        int | None,
        Query(
            ge=MIN_POINTS,
            le=10_000,
            description="Return at most this many epochs, with all peaks and dips of the curves. Default: all epochs.",
        ),
    ] = None,
    format_: Annotated[
        HistoryFormat | None,
        Query(
            alias="format",
            description="`keras`: the curves as Keras' `History.history`. `csv`: as written by Keras' `CSVLogger`.",
        ),
    ] = None,
) -> MetricsView | Response:
    """Get the job's history, epoch by epoch, and its final figures."""
    if points is not None and format_ is not None:
        raise errors.InvalidParameter("A history in Keras' format always has all epochs. Omit `points` or `format`.")
    job = jobs.find(session, caller.owner, job_id)
    with_test = job.spec["evaluation"]["test"] == "every_epoch"
    final = metrics.get_final(session, job_id)
    epochs = metrics.list_epochs(session, job_id)
    shown = epochs if points is None else thin_out(epochs, points)
    view = MetricsView(object="metrics", epochs=[_build_epoch_view(row, with_test) for row in shown], final=final)
    if format_ == "keras":
        return JSONResponse(build_keras_history(view), media_type=HISTORY)
    if format_ == "csv":
        headers = {"Content-Disposition": attach(job.name, job_id, "-history.csv")}
        return Response(write_csv(view), headers=headers, media_type="text/csv; charset=utf-8")
    return view


@router.get(
    "/splits",
    response_model=IndicesView,
    responses=document_errors(
        errors.JobNotFound, errors.SpecUnreadable, errors.DatasetNotFound, errors.DatasetLost, errors.StorageUnavailable
    ),
    dependencies=[Depends(sends_much)],
)
def get_job_splits(job_id: JobId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep) -> StreamingResponse:
    """List which images the job trains on and is measured on, after folds and `train_limit`."""
    job, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
    if dataset.sha256 is None:
        raise errors.DatasetNotFound(dataset.name)  # it was deleted with its files
    return make_indices_response(read_stored_splits(session, app.blobs, dataset, read_training_spec(job)))


_PREDICTIONS: dict[int | str, dict[str, Any]] = {
    200: {**FILE, "content": {**FILE["content"], "text/csv": {"schema": {"type": "string"}}}},
    **document_errors(
        errors.JobNotFound, errors.NotReady, errors.NoModel, errors.PredictionsLost, errors.StorageUnavailable
    ),
}


@router.get(
    "/predictions",
    response_class=StreamingResponse,
    responses=_PREDICTIONS,
    dependencies=[Depends(sends_much)],
)
def get_predictions(
    job_id: JobId,
    caller: CallerDep,
    session: ReadSessionDep,
    app: AppContextDep,
    format_: Annotated[
        PredictionsFormat, Query(alias="format", description="`csv`: a table with one line per image.")
    ] = "npz",
) -> StreamingResponse:
    """Download what the kept weights predict for each image, by split, with the names of classes and files.

    The `.npz` file holds for each split (`train`, `validation`, and `test` where it was measured) `<split>_indices`
    (positions in the dataset), `<split>_labels` (positions in `classes`) and `<split>_probabilities`. For uploaded
    datasets it also holds `<split>_files`, the names in the upload; a name of more than 200 characters keeps its end.
    `train_loss_sums` has each training image's cross-entropy summed over all epochs, and `train_loss_epochs` the number
    of these epochs; both are missing with `evaluation.train: final`. `classes` holds the names of the classes, and
    `about` a JSON text that says which job, dataset and release the file belongs to. Files of earlier releases lack
    `about`, `classes`, `train_loss_sums`, `train_loss_epochs` and `<split>_files`. `Repr-Digest` is the SHA-256.

    The table is UTF-8 with one line for each image:
    `split,index,file,label,answer,correct,probability,p_<class>…`, where `probability` is that of the answer. A file or
    class whose name a spreadsheet would compute (it begins with `=`, `+`, `-` or `@` and is not a number) gets an
    apostrophe in front.
    """
    job = jobs.find(session, caller.owner, job_id)
    predictions = artifacts.find(session, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if predictions is None:
        raise artifacts.make_missing_error(job, "predictions")
    if format_ == "npz":
        return download(
            app.blobs,
            predictions.key,
            attach(job.name, job_id, "-predictions.npz"),
            errors.PredictionsLost(job_id),
            expected=predictions.digest,
        )
    classes = jobs.get_dataset(session, job).classes or []
    chunks = iterate_csv(app.blobs, predictions.key, classes, predictions.digest)
    with raise_if_missing(errors.PredictionsLost(job_id)):
        first = next(chunks)  # errors of the file must be raised before the answer begins
    headers = {"Content-Disposition": attach(job.name, job_id, "-predictions.csv")}
    written = _iterate_in_turn(app.large_answers.table_turns, caller.owner, chain([first], chunks))
    return StreamingResponse(written, headers=headers, media_type="text/csv; charset=utf-8")


async def _iterate_in_turn(turns: Turns, owner: str, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks, each made in a turn of its owner."""
    while True:
        async with turns.taken(owner):
            chunk = await run_in_threadpool(next, chunks, None)
        if chunk is None:
            return
        yield chunk


def _build_epoch_view(row: EpochRow, with_test: bool) -> EpochView:
    """Build the view of an epoch. Its test figures are included only if the spec asked for them."""
    names = [name for name in EpochView.model_fields if with_test or not name.startswith("test_")]
    return EpochView(**{name: getattr(row, name) for name in names})
