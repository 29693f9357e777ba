"""A job's model in several formats, the script that trains it again, and its model card."""

from typing import Annotated, Literal

from fastapi import Depends, Query, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api.http.auth import CallerContext
from api.http.deps import JobId, ReadContext
from api.http.forms import BLOCKS, CARD_FORMS, answer_document, choose_preferred
from api.http.problems import EXPORT_PROBLEMS, raises
from api.http.routing import make_router
from api.live.streams import Accept
from api.routes import model_files
from api.routes.downloads import attach
from api.routes.model_files import FORMATS, Asked, Wait
from heldout import errors
from heldout.lifecycle.job import FailureCode
from heldout.stored.artifacts import CONFIGURATION, SCRIPT, ExportFormat
from heldout.views.base import ErrorView
from heldout.views.model import ExportList, ExportReportView, ListedExportView
from heldout.views.study_report import HTML, MARKDOWN
from models.model_exports import explain_failure, find_training_with_model
from models.plain_script import build_plain_script, read_network_configuration
from models.store import artifacts, exports
from models.study_report import build_model_card
from models.tables import ExportRow

router = make_router("/v1/jobs/{job_id}", "jobs")

_NO_MODEL = (errors.NotReady, errors.NoModel)
FormatOrScript = Annotated[
    ExportFormat | Literal["python"] | Literal["keras_config"],
    Query(
        alias="format",
        description=f"{FORMATS} `python`: a script that trains the job again from the same data file, with only NumPy "
        "and Keras. `keras_config`: the layers of an uploaded model with the changes that it was trained with, as JSON "
        "for `keras.models.model_from_json`.",
    ),
]


@raises(*_NO_MODEL)
async def _get_asked(job_id: JobId, context: CallerContext) -> Asked:
    return Asked(job_id, context, lambda session: find_training_with_model(session, context.caller, job_id))


@router.get("/model", response_class=StreamingResponse, responses=model_files.MODEL)
@raises(errors.NotSupported, errors.DatasetLost, errors.SpecUnreadable, errors.FileOfLaterRelease, *EXPORT_PROBLEMS)
async def get_model(
    asked: Annotated[Asked, Depends(_get_asked)],
    format_: FormatOrScript = ExportFormat.KERAS,
    wait: Wait = 0,
) -> Response:
    """Download the kept weights as a model, which takes raw pixels in the dataset's range and returns probabilities.

    For `keras` there is the file that the training has left. The first request for another format orders it. A worker
    writes the file, loads it again in its own runtime, and compares its answers with the job's predictions; only a file
    that passes is handed out. Until then the answer is 409 `not_ready` with `Retry-After`. `Repr-Digest` is the file's
    SHA-256, and `Link` names its report.
    """
    if format_ == SCRIPT:
        return await run_in_threadpool(_send_script, asked)
    if format_ == CONFIGURATION:
        return await run_in_threadpool(_send_configuration, asked)
    if format_ is ExportFormat.KERAS:
        return await run_in_threadpool(_send_trained, asked)
    return await model_files.send_proven_file(asked, format_, wait_s=wait)


model_files.add_routes(
    router,
    _get_asked,
    noun="model",
    about_report="Get the report that compares the exported file's predictions with the job's own.\n\nThe first "
    "request for a format orders its export. A `keras` export also contains the model card. Once\nit exists, it is "
    "served instead of the training's own file, with the same weights.",
)


@router.get("/exports")
@raises(*_NO_MODEL)
def list_exports(job_id: JobId, context: ReadContext) -> ExportList:
    """List the state of each format's export, with the report of its check. Orders nothing."""
    find_training_with_model(context.session, context.caller, job_id)
    known = {row.format: row for row in exports.list_of_job(context.session, job_id)}
    return ExportList(data=[_build_listed_view(job_id, format_, known.get(format_)) for format_ in ExportFormat])


@router.get("/card", response_class=Response, responses=CARD_FORMS)
@raises(*_NO_MODEL, errors.SpecUnreadable, errors.StorageUnavailable, errors.FileOfLaterRelease)
def get_model_card(job_id: JobId, context: ReadContext, accept: Accept = "") -> Response:
    """Get the model card: purpose, data, performance, the parts of the gap, and how to reproduce the model."""
    source = find_training_with_model(context.session, context.caller, job_id)
    card = build_model_card(context.session, context.blobs, source.job, source.dataset)
    return answer_document(card, choose_preferred(accept, (MARKDOWN, BLOCKS, HTML)))


def _send_trained(asked: Asked) -> StreamingResponse:
    """Send the training's own file, or its export with the model card if that passed its check. Raises if it failed."""
    with asked.context.read() as session:
        source = asked.find(session)
        model = artifacts.find_model(session, source.job)
        row = exports.find(session, asked.id, ExportFormat.KERAS)
    if row is not None and (row.error or {}).get("code") == FailureCode.EXPORT_DIFFERS:
        raise explain_failure(row, asked.id)
    if row is not None and row.key is not None:
        lost: errors.HeldoutError = errors.ExportLost(asked.id, ExportFormat.KERAS)
        return model_files.send_model(asked, source.name, ExportFormat.KERAS, row, lost=lost)
    assert model is not None, "find_training_with_model returns only jobs with a model"
    lost = errors.ModelLost(asked.id)
    return model_files.send_model(asked, source.name, ExportFormat.KERAS, model, lost=lost)


def _send_script(asked: Asked) -> Response:
    """Send the script that trains the job again."""
    with asked.context.read() as session:
        source = asked.find(session)
        if source.dataset.sha256 is None:
            raise errors.DatasetNotFound(source.dataset.name)
        text = build_plain_script(session, asked.context.blobs, source.job, source.dataset)
    headers = {"Content-Disposition": attach(source.name, source.id, ".py")}
    return Response(text, media_type="text/x-python; charset=utf-8", headers=headers)


def _send_configuration(asked: Asked) -> Response:
    """Send the layers of the job's own network as JSON."""
    with asked.context.read() as session:
        source = asked.find(session)
        content = read_network_configuration(session, asked.context.blobs, source.job)
    headers = {"Content-Disposition": attach(source.name, source.id, ".json")}
    return Response(content, media_type="application/json", headers=headers)


def _build_listed_view(job_id: str, format_: ExportFormat, row: ExportRow | None) -> ListedExportView:
    return ListedExportView(
        job_id=job_id,
        format=format_,
        status="absent" if row is None else row.status,
        error=ErrorView.model_validate(row.error) if row is not None and row.error else None,
        report=ExportReportView.model_validate(row.report) if row is not None and row.report else None,
    )
