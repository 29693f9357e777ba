"""Exported models of jobs and studies. The first request for a format orders the export; later ones get the file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api.http.context import RequestContext
from api.http.deps import WriteContext
from api.http.problems import EXPORT_PROBLEMS, NO_ROOM, raises
from api.routes.downloads import FILE, attach, download
from api.routes.long_poll import MAX_WAIT_S
from heldout import errors
from heldout.access.rights import get_model_route
from heldout.stored.artifacts import ExportFormat
from heldout.views.model import ExportReportView, ExportView
from models.blobs import BlobMissing, Blobs
from models.model_exports import Find, FoundExport, find_or_create
from models.store import exports
from models.store.artifacts import Artifact
from models.tables import ExportRow

FORMATS = " ".join(
    f"`{format_}`{format_.facts.description and ': '}{format_.facts.description}." for format_ in ExportFormat
)
Format = Annotated[ExportFormat, Query(alias="format", description=FORMATS)]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for the export to end.")]
_LINK = {"description": '`rel="describedby"`: the report of the file\'s check.', "schema": {"type": "string"}}
# The `responses=` of a route that serves a model.
MODEL: dict[int | str, dict[str, Any]] = {200: {**FILE, "headers": {**FILE["headers"], "Link": _LINK}}}


@dataclass(frozen=True)
class Asked:
    """The model that a request asks for. id: of a job or study. find: finds the training that produced the model."""

    id: str
    context: RequestContext
    find: Find


def add_routes(
    router: APIRouter,
    asked_by: Callable[..., Any],
    *,
    noun: str,
    about_report: str,
) -> None:
    """Add the routes that report how a model's file was checked, and that order an export.

    Args:
        asked_by: a dependency that returns `Asked`. It notes the errors that `Asked.find` raises.
        noun: names the model in the routes' operation ids.
        about_report: description of the report's route.
    """

    @router.get("/model/report", name=f"get_{noun}_report", description=about_report)
    @raises(*EXPORT_PROBLEMS)
    async def get_report(
        asked: Annotated[Asked, Depends(asked_by)],
        format_: Format = ExportFormat.KERAS,
        wait: Wait = 0,
    ) -> ExportReportView:
        found = await _require_proven(asked, format_, wait)
        return ExportReportView.model_validate(found.row.report)

    @router.post(
        "/model",
        name=f"order_{noun}",
        description=f"Order the {noun} in a format before it is needed, or again if the export failed or its file is "
        "lost.",
        status_code=202,
    )
    @raises(errors.DatasetNotFound, *NO_ROOM)
    def create(
        asked: Annotated[Asked, Depends(asked_by)],
        context: WriteContext,
        format_: Format = ExportFormat.KERAS,
    ) -> ExportView:
        # Query the blob store before `session` writes: SQLite has one writer, which a slow store would block.
        with context.app.database.read() as reading:
            known = exports.find(reading, asked.find(reading).job.id, format_)
        lost_key = None if known is None or known.key is None or _is_whole(context.blobs, known) else known.key
        source = asked.find(context.session)
        if source.dataset.sha256 is None:
            raise errors.DatasetNotFound(source.dataset.name)
        exports.create_export(context.session, source.job, format_, again=True, lost_key=lost_key)
        row = exports.find(context.session, source.job.id, format_)
        assert row is not None, "it was ordered now or earlier"
        return ExportView(job_id=source.id, format=format_, status=row.status)


async def send_proven_file(asked: Asked, format_: ExportFormat, *, wait_s: float) -> StreamingResponse:
    """Return the proven file of an export, and order the export if needed. Raises what `_require_proven` raises."""
    found = await _require_proven(asked, format_, wait_s)
    lost = errors.ExportLost(asked.id, format_)
    return await run_in_threadpool(send_model, asked, found.source_name, format_, found.stored(), lost=lost)


async def _require_proven(asked: Asked, format_: ExportFormat, wait_s: float) -> FoundExport:
    """Wait for the export to be stored and return it. Raises `EXPORT_PROBLEMS` and what `asked.find` raises."""

    def ask() -> FoundExport:
        return find_or_create(asked.context.app.database, asked.context.caller, asked.find, format_)

    ordered = await run_in_threadpool(ask)
    if not ordered.has_ended and wait_s:
        await asked.context.app.hub.wait_for_end(ordered.row.export_job_id, wait_s)
        ordered = await run_in_threadpool(ask)
    ordered.stored()
    return ordered


def send_model(
    asked: Asked,
    source_name: str,
    format_: ExportFormat,
    file: Artifact | ExportRow,
    *,
    lost: errors.HeldoutError,
) -> StreamingResponse:
    """Send a stored model as an attachment, with a link to the report of its check.

    lost: the error raised if the file is gone.
    """
    assert file.key is not None, "a successful export has a file"
    disposition = attach(source_name, asked.id, format_.facts.suffix)
    answer = download(asked.context.blobs, file.key, disposition, lost, expected=file.digest)
    answer.headers["Link"] = f'<{get_model_route(asked.id)}/report?format={format_}>; rel="describedby"'
    return answer


def _is_whole(blobs: Blobs, export: ExportRow) -> bool:
    assert export.key is not None, "the caller checked this"
    try:
        blobs.size(export.key) if export.digest is None else blobs.require_whole(export.key, export.digest)
    except (BlobMissing, errors.ArtifactDamaged):
        return False
    return True
