"""The model of a job, for several runtimes: the first request for one orders it, later ones get the file."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Query, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.deps import AnnounceDep, AppContextDep, JobId, ReadSessionDep, SessionDep
from api.http.problems import NO_ROOM, problems
from api.http.routing import resource
from api.live.hub import ChannelState
from api.live.recent_events import Channel, ChannelKind
from api.routes.jobs.downloads import FILE, download, not_there
from api.routes.long_poll import MAX_WAIT_S
from heldout.errors import (
    DatasetLost,
    DatasetNotFound,
    ExportDiffers,
    ExportFailed,
    ExportNotReady,
    ExportNotSupported,
    FileOfLaterRelease,
    HeldoutError,
    JobNotFound,
    ModelLost,
    NoModel,
    NotReady,
    NotSupported,
    SpecUnreadable,
    StorageUnavailable,
)
from heldout.lifecycle import FailureCode, JobStatus
from heldout.stored.artifacts import MODEL_SUFFIXES, SCRIPT, ExportFormat, ExportStatus
from heldout.views.export import ExportList, ExportReportView, ExportView
from heldout.views.study_report import MARKDOWN
from models.model_card import model_card
from models.plain_script import plain_script
from models.store import accounts, artifacts, exports, jobs, quotas
from models.store.keys import Caller
from models.tables import ExportRow
from models.views.export import export_list
from models.wake import WakeUp

router = resource("/v1/jobs/{job_id}", "jobs")

_OF_EXPORTS = (
    JobNotFound,
    NotReady,
    NoModel,
    ModelLost,
    DatasetNotFound,
    ExportNotReady,
    ExportDiffers,
    ExportFailed,
    ExportNotSupported,
    StorageUnavailable,
    *NO_ROOM,
)
_OF_SCRIPTS = (NotSupported, DatasetLost, SpecUnreadable, FileOfLaterRelease)
_LINK = {"description": '`rel="describedby"`: the report of the file\'s proof.', "schema": {"type": "string"}}
_MODEL: dict[int | str, dict[str, Any]] = {
    200: {**FILE, "headers": {**FILE["headers"], "Link": _LINK}},
    **problems(*_OF_EXPORTS, *_OF_SCRIPTS),
}

_CARD: dict[int | str, dict[str, Any]] = {
    200: {"description": "Markdown.", "content": {MARKDOWN: {"schema": {"type": "string"}}}},
    **problems(JobNotFound, NotReady, NoModel, SpecUnreadable, StorageUnavailable, FileOfLaterRelease),
}

Format = Annotated[
    ExportFormat,
    Query(
        alias="format",
        description="`keras`: the file that the training has left. `saved_model`: a .zip for TensorFlow Serving. "
        "`onnx`. `litert`: a `.tflite` file.",
    ),
]
FormatOrScript = Annotated[
    ExportFormat | Literal["python"],
    Query(
        alias="format",
        description="`keras`: the file that the training has left. `saved_model`: a .zip for TensorFlow Serving. "
        "`onnx`. `litert`: a `.tflite` file. `python`: a script that trains the job once more from the same data file, "
        "with NumPy and Keras alone.",
    ),
]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for an export's end.")]


@router.get("/model", response_class=StreamingResponse, responses=_MODEL)
async def get_model(
    job_id: JobId,
    caller: CallerDep,
    app: AppContextDep,
    format_: FormatOrScript = ExportFormat.KERAS,
    wait: Wait = 0,
) -> Response:
    """The kept weights as a model: takes raw pixels of the dataset's own range, gives probabilities.

    The first request for another format than `keras` orders it. A worker writes the file, loads it again in its own
    runtime, and compares its answers with the job's predictions; only a file that passes is handed out.
    """
    if format_ == SCRIPT:
        return await run_in_threadpool(_script, app, caller, job_id)
    if format_ is ExportFormat.KERAS:
        return await run_in_threadpool(_trained, app, caller, job_id)
    found = await _proven(app, caller, job_id, format_, wait_s=wait)
    assert found.key is not None, "an export in another format has stored a file"
    return await run_in_threadpool(_sent, app, job_id, format_, found.key, found.size_bytes, found.sha256)


@router.get("/model/report", responses=problems(*_OF_EXPORTS))
async def get_model_report(
    job_id: JobId,
    caller: CallerDep,
    app: AppContextDep,
    format_: Format = ExportFormat.KERAS,
    wait: Wait = 0,
) -> ExportReportView:
    """How the file of that format answered the job's own images when it was loaded again in its own runtime.

    The first request for a format orders its export; for `keras` the training's own file is proven, by plain Keras.
    """
    found = await _proven(app, caller, job_id, format_, wait_s=wait)
    return ExportReportView.model_validate(found.report)


@router.get("/exports", responses=problems(JobNotFound, NotReady, NoModel))
def list_exports(job_id: JobId, caller: CallerDep, session: ReadSessionDep) -> ExportList:
    """How far the job's model is in each format, with the report of its proof. Orders nothing."""
    job = jobs.find(session, caller.owner, job_id)
    if artifacts.model_of(session, job) is None:
        raise not_there(job, "model")
    return export_list(job_id, exports.of_job(session, job_id))


@router.get("/card", response_class=Response, responses=_CARD)
def get_model_card(job_id: JobId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep) -> Response:
    """What the model is for, how well it does, on what data, what its gap is made of, and how it is made again."""
    job, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
    if artifacts.model_of(session, job) is None:
        raise not_there(job, "model")
    return Response(model_card(session, app.blobs, job, dataset), media_type=f"{MARKDOWN}; charset=utf-8")


@router.post("/model", status_code=202, responses=problems(JobNotFound, NotReady, NoModel, DatasetNotFound, *NO_ROOM))
def order_model(
    job_id: JobId,
    caller: CallerDep,
    session: SessionDep,
    app: AppContextDep,
    announce: AnnounceDep,
    format_: Format = ExportFormat.KERAS,
) -> ExportView:
    """Order the model in a format before it is needed, or once more after an export that failed."""
    job, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
    if artifacts.model_of(session, job) is None:
        raise not_there(job, "model")
    if dataset.sha256 is None:
        raise DatasetNotFound(dataset.name)
    quotas.require_room(session, caller.owner, app.settings.quotas, *quotas.OF_NEW_JOBS)
    queued = exports.order(session, job, format_, again=True)
    if queued is not None:
        announce(WakeUp.for_job(queued.id, queued.gpus))
    row = exports.find(session, job_id, format_)
    assert row is not None, "it was ordered now or before"
    return ExportView(job_id=job_id, format=format_, status=row.status)


@dataclass(frozen=True)
class _Asked:
    """An export, and how the job stands that writes it."""

    row: ExportRow
    status: JobStatus | None


def _trained(app: AppContext, caller: Caller, job_id: str) -> StreamingResponse:
    """What the training has left. It is not held back until it is proven, but where its proof has failed."""
    with app.database.read() as session:
        job = jobs.find(session, caller.owner, job_id)
        model = artifacts.model_of(session, job)
        if model is None:
            raise not_there(job, "model")
        row = exports.find(session, job_id, ExportFormat.KERAS)
    if row is not None and (row.error or {}).get("code") == FailureCode.EXPORT_DIFFERS:
        raise _failure(row)
    return _sent(app, job_id, ExportFormat.KERAS, model.key, model.size_bytes, model.sha256)


def _script(app: AppContext, caller: Caller, job_id: str) -> Response:
    """The script that trains the job once more."""
    with app.database.read() as session:
        job, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
        if artifacts.model_of(session, job) is None:
            raise not_there(job, "model")
        if dataset.sha256 is None:
            raise DatasetNotFound(dataset.name)
        text = plain_script(session, app.blobs, job, dataset)
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.py"'}
    return Response(text, media_type="text/x-python; charset=utf-8", headers=headers)


def _sent(
    app: AppContext, job_id: str, format_: ExportFormat, key: str, size_bytes: int | None, sha256: str | None
) -> StreamingResponse:
    name = f"{job_id}{MODEL_SUFFIXES[format_]}"
    answer = download(app.blobs, key, name, ModelLost(job_id), size_bytes=size_bytes, sha256=sha256)
    answer.headers["Link"] = f'</v1/jobs/{job_id}/model/report?format={format_}>; rel="describedby"'
    return answer


async def _proven(app: AppContext, caller: Caller, job_id: str, format_: ExportFormat, *, wait_s: float) -> ExportRow:
    """The export, once it is stored; it is ordered where nobody has done so. Raises what the routes do."""
    asked = await run_in_threadpool(_asked_for, app, caller, job_id, format_)
    if asked.row.status is ExportStatus.QUEUED and wait_s:
        await app.hub.wait(Channel(ChannelKind.JOB, asked.row.export_job_id), _has_ended, wait_s)
        asked = await run_in_threadpool(_asked_for, app, caller, job_id, format_)
    if asked.row.status is ExportStatus.QUEUED:
        raise ExportNotReady(job_id, format_, asked.status or JobStatus.QUEUED)
    if asked.row.status is ExportStatus.FAILED:
        raise _failure(asked.row)
    return asked.row


def _has_ended(state: ChannelState) -> bool:
    return state.has_ended


def _asked_for(app: AppContext, caller: Caller, job_id: str, format_: ExportFormat) -> _Asked:
    """The export, which begins here if nobody has asked before."""
    with app.database.read() as session:
        job, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
        if artifacts.model_of(session, job) is None:
            raise not_there(job, "model")
        row = exports.find(session, job_id, format_)
    if row is None:
        if dataset.sha256 is None:
            raise DatasetNotFound(dataset.name)  # it was deleted, and with it the images to compare on
        with app.database.write() as session:
            accounts.note_key(session, caller.key_id)
            quotas.require_room(session, caller.owner, app.settings.quotas, *quotas.OF_NEW_JOBS)
            queued = exports.order(session, jobs.find(session, caller.owner, job_id), format_)
        if queued is not None:
            app.publisher.publish(WakeUp.for_job(queued.id, queued.gpus))
    with app.database.read() as session:
        row = exports.find(session, job_id, format_)
        if row is None:
            raise JobNotFound(job_id)  # deleted meanwhile
        return _Asked(row, exports.status_of(session, row))


def _failure(row: ExportRow) -> HeldoutError:
    """Why an export that has failed is not handed out."""
    error = row.error or {}
    code, why = error.get("code"), str(error.get("detail", ""))
    if code == FailureCode.NOT_SUPPORTED:
        return ExportNotSupported(row.job_id, row.format, why)
    kind = ExportDiffers if code == FailureCode.EXPORT_DIFFERS else ExportFailed
    return kind(row.job_id, row.format, why)
