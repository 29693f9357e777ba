"""Results of a job: metrics, splits, predictions, diagnosis, confusion matrices, and images that were hard to learn."""

from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from api.http.deps import JobId, ReadContext
from api.http.forms import FORMS, IN_BLOCKS, answer_in_form, choose_preferred
from api.http.parameters import OnlyClass, PageLimit, PageStart
from api.http.places import sends_much
from api.http.problems import raises
from api.http.routing import make_router
from api.live.streams import Accept
from api.routes.datasets.dataset import note_shown_labels
from api.routes.downloads import FILE, attach, download, make_indices_response
from api.turns import Turns
from heldout import errors
from heldout.documents.blocks import Document
from heldout.documents.inside import build_inside
from heldout.documents.job import lay_out_job
from heldout.documents.mistakes import build_mistakes
from heldout.integrations.keras_history import HistoryFormat, build_keras_history, write_csv
from heldout.metrics import MEASURES
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, PredictionsFormat
from heldout.stored.evaluation import SplitName, StoredEvaluation
from heldout.views.dataset import IndicesView
from heldout.views.diagnosis import DiagnosisView
from heldout.views.results import CellView, ConfusionView, EpochView, MemorizedPage, MetricsView
from heldout.views.study_report import HTML
from models.blobs import raise_if_missing
from models.dataset_map import find_map
from models.job_diagnosis import diagnose_job
from models.predictions import build_cell_view, build_memorized_page, iterate_csv, iterate_splits_csv
from models.proof_view import find_proof
from models.specs import read_training_spec
from models.store import artifacts, jobs, metrics
from models.store.metrics import MIN_POINTS, thin_out
from models.stored_files import find_and_read, read_all_names, read_stored_splits
from models.views.evaluation import build_confusion_view
from models.views.job import build_job_view

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
}


@router.get("/metrics", response_model=MetricsView, response_model_exclude_unset=True, responses=_METRICS)
def get_metrics(
    job_id: JobId,
    context: ReadContext,
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
    job = jobs.find(context.session, context.owner, job_id)
    # The test figures of an epoch are shown only if the spec asked for them.
    with_test = job.spec["evaluation"]["test"] == "every_epoch"
    hidden = set() if with_test else {"test_loss", "test_accuracy"}
    if job.spec.get("objective") in (None, *MEASURES):
        hidden.add("validation_objective")
    names = [name for name in EpochView.model_fields if name not in hidden]
    final = metrics.get_final(context.session, job_id)
    epochs = metrics.list_epochs(context.session, job_id)
    shown = epochs if points is None else thin_out(epochs, points)
    view = MetricsView(
        object="metrics",
        epochs=[
            EpochView(**{name: getattr(row, name) for name in names if name != "inside" or row.inside}) for row in shown
        ],
        final=final,
    )
    if format_ == "keras":
        return JSONResponse(build_keras_history(view), media_type=HISTORY)
    if format_ == "csv":
        headers = {"Content-Disposition": attach(job.name, job_id, "-history.csv")}
        return Response(write_csv(view), headers=headers, media_type="text/csv; charset=utf-8")
    return view


@router.get(
    "/splits",
    response_model=IndicesView,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    dependencies=[Depends(sends_much)],
)
@raises(errors.SpecUnreadable, errors.DatasetNotFound, errors.DatasetLost, errors.StorageUnavailable)
def get_job_splits(
    job_id: JobId,
    context: ReadContext,
    format_: Annotated[
        Literal["json", "csv"], Query(alias="format", description="`csv`: a table `split,index,file`.")
    ] = "json",
) -> StreamingResponse:
    """List which images the job trains on and is measured on, after folds and `train_limit`.

    The table has one line for each image; `file` is its name in the upload, and empty if it has none.
    """
    job, dataset = jobs.find_with_dataset(context.session, context.owner, job_id)
    if dataset.sha256 is None:
        raise errors.DatasetNotFound(dataset.name)  # it was deleted with its files
    indices = read_stored_splits(context.session, context.blobs, dataset, read_training_spec(job))
    if format_ == "json":
        return make_indices_response(indices)
    names = read_all_names(context.session, context.blobs, dataset.id)
    headers = {"Content-Disposition": attach(job.name, job_id, "-splits.csv")}
    return StreamingResponse(iterate_splits_csv(indices, names), headers=headers, media_type="text/csv; charset=utf-8")


_PREDICTIONS: dict[int | str, dict[str, Any]] = {
    200: {**FILE, "content": {**FILE["content"], "text/csv": {"schema": {"type": "string"}}}},
}


@router.get(
    "/predictions",
    response_class=StreamingResponse,
    responses=_PREDICTIONS,
    dependencies=[Depends(sends_much)],
)
@raises(errors.NotReady, errors.NoModel, errors.PredictionsLost, errors.StorageUnavailable)
def get_predictions(
    job_id: JobId,
    context: ReadContext,
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
    job = jobs.find(context.session, context.owner, job_id)
    predictions = artifacts.find(context.session, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if predictions is None:
        raise artifacts.make_missing_error(job, "predictions")
    if format_ == "npz":
        return download(
            context.blobs,
            predictions.key,
            attach(job.name, job_id, "-predictions.npz"),
            errors.PredictionsLost(job_id),
            expected=predictions.digest,
        )
    classes = jobs.get_dataset(context.session, job).classes or []
    chunks = iterate_csv(context.blobs, predictions.key, classes, predictions.digest)
    with raise_if_missing(errors.PredictionsLost(job_id)):
        first = next(chunks)  # errors of the file must be raised before the answer begins
    headers = {"Content-Disposition": attach(job.name, job_id, "-predictions.csv")}
    written = _iterate_in_turn(context.app.large_answers.table_turns, context.owner, chain([first], chunks))
    return StreamingResponse(written, headers=headers, media_type="text/csv; charset=utf-8")


async def _iterate_in_turn(turns: Turns, owner: str, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks, each made in a turn of its owner."""
    while True:
        async with turns.taken(owner):
            chunk = await run_in_threadpool(next, chunks, None)
        if chunk is None:
            return
        yield chunk


@router.get("/diagnosis", response_model=DiagnosisView, responses=IN_BLOCKS)
@raises(errors.StorageUnavailable, errors.FileOfLaterRelease, errors.SpecUnreadable)
def get_diagnosis(
    job_id: JobId, context: ReadContext, response: Response, accept: Accept = ""
) -> Response | DiagnosisView:
    """Diagnose a job from its epochs so far, and, once it has succeeded, also from its predictions and the audit."""
    job = jobs.find(context.session, context.owner, job_id)
    diagnosis = diagnose_job(context.session, context.blobs, job)
    if any("test" in finding.evidence.get("wrong_labels", ()) for finding in diagnosis.findings):
        # The networks that found the wrong labels were trained on test labels.
        note_shown_labels(context.session, context.app, context.owner, jobs.get_dataset(context.session, job))
    view = DiagnosisView.of(diagnosis, dataset_id=job.dataset_id)

    def lay_out() -> Document:
        shown = build_job_view(job, jobs.get_dataset(context.session, job))
        inside = build_inside(metrics.read_looks(metrics.list_epochs(context.session, job_id)))
        document = lay_out_job(shown, view, proof=find_proof(context.session, context.blobs, job), inside=inside)
        # The dashboard has a map of its own, with images.
        found = find_map(context.session, context.blobs, context.owner, job) if is_page else None
        return Document(document.title, [*document.blocks, *build_mistakes({"": found} if found else {})])

    is_page = choose_preferred(accept, FORMS) == HTML
    return answer_in_form(accept, response, view, lay_out)


@router.get("/confusion")
@raises(errors.NotReady, errors.NoModel, errors.StorageUnavailable, errors.FileOfLaterRelease)
def get_confusion(job_id: JobId, context: ReadContext) -> ConfusionView:
    """Show which classes are mistaken for which: confusion matrices, precision, recall, F1, calibration, mistakes.

    Matrices are given for up to 200 classes. The most confident mistakes come with file names and pictures.
    """
    job = jobs.find(context.session, context.owner, job_id)
    stored = find_and_read(context.session, context.blobs, job_id, StoredEvaluation)
    if stored is None:
        raise artifacts.make_missing_error(job, "confusion matrix")
    return build_confusion_view(stored, job.dataset_id or "")


@router.get("/confusion/images")
@raises(errors.NotReady, errors.NoModel, errors.PredictionsLost, errors.StorageUnavailable, errors.FileOfLaterRelease)
def get_confused_images(
    job_id: JobId,
    context: ReadContext,
    label: Annotated[str, Query(max_length=256, description="A name in `classes`.")],
    answer: Annotated[str, Query(max_length=256, description="A name in `classes`.")],
    split: SplitName = "test",
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> CellView:
    """List the images behind a cell of a confusion matrix, most confident predictions first."""
    job = jobs.find(context.session, context.owner, job_id)
    stored = find_and_read(context.session, context.blobs, job_id, StoredEvaluation)
    predictions = artifacts.find(context.session, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if stored is None or predictions is None:
        raise artifacts.make_missing_error(job, "confusion matrix")
    for name in (label, answer):
        if name not in stored.classes:
            raise errors.InvalidParameter(
                f"There is no class {name[:64]!r}. The field `classes` of the confusion matrices lists all classes."
            )
    with raise_if_missing(errors.PredictionsLost(job_id)):
        return build_cell_view(
            context.blobs,
            predictions,
            stored.classes,
            job.dataset_id or "",
            split=split,
            label=label,
            answer=answer,
            limit=limit,
        )


@router.get("/memorized")
@raises(errors.NotReady, errors.NoModel, errors.PredictionsLost, errors.StorageUnavailable)
def list_memorized_images(
    job_id: JobId,
    context: ReadContext,
    class_: OnlyClass = None,
    limit: PageLimit = 20,
    after: PageStart = 0,
) -> MemorizedPage:
    """List training images by the sum of their losses over all epochs, hardest to learn first.

    A high sum means that an image is hard, unlike others of its class, or wrongly labeled.
    """
    job = jobs.find(context.session, context.owner, job_id)
    predictions = artifacts.find(context.session, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if predictions is None:
        raise artifacts.make_missing_error(job, "losses of training images")
    classes = jobs.get_dataset(context.session, job).classes or []
    if class_ is not None and class_ not in classes:
        raise errors.InvalidParameter(
            f"The job's dataset has no class {class_[:64]!r}. Its field `classes` lists all classes."
        )
    label = None if class_ is None else classes.index(class_)
    with raise_if_missing(errors.PredictionsLost(job_id)):
        return build_memorized_page(
            context.blobs, predictions, classes, job.dataset_id or "", label=label, after=after, limit=limit
        )
