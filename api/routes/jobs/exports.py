"""The model of a job: as a file for several runtimes, as a script that trains it once more, and its card."""

from typing import Annotated, Any, Literal

from fastapi import Query, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.deps import AnnounceDep, AppContextDep, JobId, ReadSessionDep, SessionDep
from api.http.problems import NO_ROOM, problems
from api.http.routing import resource
from api.routes import model_files
from api.routes.model_files import EXPORT_PROBLEMS, FORMATS, Format, Wait
from heldout.errors import (
    DatasetLost,
    DatasetNotFound,
    ExportLost,
    FileOfLaterRelease,
    JobNotFound,
    ModelLost,
    NoModel,
    NotReady,
    NotSupported,
    SpecUnreadable,
    StorageUnavailable,
)
from heldout.lifecycle import FailureCode
from heldout.stored.artifacts import SCRIPT, ExportFormat
from heldout.views.export import ExportList, ExportReportView, ExportView
from heldout.views.study_report import MARKDOWN
from models.model_card import model_card
from models.ordered_exports import failure_of, training_with_model
from models.plain_script import plain_script
from models.store import artifacts, exports
from models.store.keys import Caller
from models.views.export import export_list

router = resource("/v1/jobs/{job_id}", "jobs")

_NO_MODEL = (JobNotFound, NotReady, NoModel)
_OF_SCRIPTS = (NotSupported, DatasetLost, SpecUnreadable, FileOfLaterRelease)
_CARD: dict[int | str, dict[str, Any]] = {
    200: {"description": "Markdown.", "content": {MARKDOWN: {"schema": {"type": "string"}}}},
    **problems(*_NO_MODEL, SpecUnreadable, StorageUnavailable, FileOfLaterRelease),
}
FormatOrScript = Annotated[
    ExportFormat | Literal["python"],
    Query(
        alias="format",
        description=f"{FORMATS} `python`: a script that trains the job once more from the same data file, with NumPy "
        "and Keras alone.",
    ),
]


@router.get("/model", response_class=StreamingResponse, responses=model_files.model_responses(*_NO_MODEL, *_OF_SCRIPTS))
async def get_model(
    job_id: JobId,
    caller: CallerDep,
    app: AppContextDep,
    format_: FormatOrScript = ExportFormat.KERAS,
    wait: Wait = 0,
) -> Response:
    """The kept weights as a model: takes raw pixels of the dataset's own range, gives probabilities.

    For `keras` there is the file that the training has left. The first request for another format orders it. A worker
    writes the file, loads it again in its own runtime, and compares its answers with the job's predictions; only a file
    that passes is handed out.
    """
    if format_ == SCRIPT:
        return await run_in_threadpool(_script, app, caller, job_id)
    if format_ is ExportFormat.KERAS:
        return await run_in_threadpool(_trained, app, caller, job_id)
    return await model_files.file_of(training_with_model, job_id, app, caller, format_, wait_s=wait)


@router.get("/model/report", responses=problems(*_NO_MODEL, *EXPORT_PROBLEMS))
async def get_model_report(
    job_id: JobId,
    caller: CallerDep,
    app: AppContextDep,
    format_: Format = ExportFormat.KERAS,
    wait: Wait = 0,
) -> ExportReportView:
    """How the file of that format answered the job's own images when it was loaded again in its own runtime.

    The first request for a format orders its export. That for `keras` holds the model card as well; from then on it is
    handed out in place of the training's own file, with the same weights.
    """
    return await model_files.report_of(training_with_model, job_id, app, caller, format_, wait_s=wait)


@router.get("/exports", responses=problems(*_NO_MODEL))
def list_exports(job_id: JobId, caller: CallerDep, session: ReadSessionDep) -> ExportList:
    """How far the job's model is in each format, with the report of its proof. Orders nothing."""
    training_with_model(session, caller, job_id)
    return export_list(job_id, exports.of_job(session, job_id))


@router.get("/card", response_class=Response, responses=_CARD)
def get_model_card(job_id: JobId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep) -> Response:
    """What the model is for, how well it does, on what data, what its gap is made of, and how it is made again."""
    source = training_with_model(session, caller, job_id)
    card = model_card(session, app.blobs, source.job, source.dataset)
    return Response(card, media_type=f"{MARKDOWN}; charset=utf-8")


@router.post("/model", status_code=202, responses=problems(*_NO_MODEL, DatasetNotFound, *NO_ROOM))
def order_model(
    job_id: JobId,
    caller: CallerDep,
    session: SessionDep,
    app: AppContextDep,
    announce: AnnounceDep,
    format_: Format = ExportFormat.KERAS,
) -> ExportView:
    """Order the model in a format before it is needed, or once more where that failed or its file is lost."""
    return model_files.order(session, app, caller, training_with_model, job_id, format_, announce)


def _trained(app: AppContext, caller: Caller, job_id: str) -> StreamingResponse:
    """What the training has left, or the same with its card once that is proven; not where the proof has failed."""
    with app.database.read() as session:
        model = artifacts.model_of(session, training_with_model(session, caller, job_id).job)
        row = exports.find(session, job_id, ExportFormat.KERAS)
    if row is not None and (row.error or {}).get("code") == FailureCode.EXPORT_DIFFERS:
        raise failure_of(row, job_id)
    if row is not None and row.key is not None:
        return model_files.sent(app, job_id, ExportFormat.KERAS, row, lost=ExportLost(job_id, ExportFormat.KERAS))
    assert model is not None, "a source has a model"
    return model_files.sent(app, job_id, ExportFormat.KERAS, model, lost=ModelLost(job_id))


def _script(app: AppContext, caller: Caller, job_id: str) -> Response:
    """The script that trains the job once more."""
    with app.database.read() as session:
        source = training_with_model(session, caller, job_id)
        if source.dataset.sha256 is None:
            raise DatasetNotFound(source.dataset.name)
        text = plain_script(session, app.blobs, source.job, source.dataset)
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.py"'}
    return Response(text, media_type="text/x-python; charset=utf-8", headers=headers)
