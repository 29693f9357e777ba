"""New datasets: announced, then their content sent; or both in one form. And their end."""

from typing import Annotated, Any

import structlog
from fastapi import Header, Request, Response
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from api.http.auth import CallerDep
from api.http.body import read_json
from api.http.deps import AfterCommitDep, ServicesDep, SessionDep
from api.http.problems import JSON_BODY, problems
from api.http.routing import resource
from api.http.services import Services
from api.http.upload_body import DIGEST, JSON_FIELDS, Received, dataset_spec, file_in_form, read_form, spec_in_form
from api.routes.datasets.dataset import Reference
from heldout.datasets import DatasetSpec
from heldout.errors import (
    BodyTooLarge,
    DatasetInUse,
    DatasetIsBundled,
    DatasetNotFound,
    DigestMismatch,
    HeldoutError,
    InvalidForm,
    StorageUnavailable,
    UploadFinished,
)
from heldout.views.dataset import DatasetView
from models.discard import discard_files
from models.store import uploads
from models.views.dataset import dataset_view

log = structlog.get_logger("heldout.api")

router = resource("/v1/datasets", "datasets")

COMPONENT = "#/components/schemas/{model}"
FORM = {
    "type": "object",
    "required": ["name", "file"],
    "additionalProperties": False,
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "The content."},
        **DatasetSpec.model_json_schema(ref_template=COMPONENT)["properties"],
    },
}
NEW_DATASET: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": COMPONENT.format(model="DatasetSpec")}},
            "multipart/form-data": {
                "schema": FORM,
                "encoding": {field: {"contentType": "application/json"} for field in JSON_FIELDS},
            },
        },
    }
}
CONTENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An `.npz`, a zip or tar of `class/file` or `split/class/file`, or a Parquet file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "",
    status_code=201,
    response_model=DatasetView,
    response_description="`uploading`, and waiting for its content; `checking` where a form brought it.",
    openapi_extra=NEW_DATASET,
    responses=problems(InvalidForm, StorageUnavailable, *JSON_BODY),
)
async def create_dataset(request: Request, response: Response, caller: CallerDep, services: ServicesDep) -> DatasetView:
    """Announce the next version under a name; the content follows with PUT, or comes along in a form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
        view = await _create_whole(request, caller.owner, services)
    else:
        spec = dataset_spec(await read_json(request, services.settings.max_body_bytes))
        view = await run_in_threadpool(_announce, services, caller.owner, spec)
    response.headers["Location"] = f"/v1/datasets/{view.id}"
    return view


@router.put(
    "/{dataset}/content",
    status_code=202,
    response_model=DatasetView,
    response_description="Received whole; a worker checks it. The same content once more changes nothing.",
    openapi_extra=CONTENT,
    responses=problems(
        *(InvalidForm, DatasetNotFound, DatasetIsBundled, UploadFinished),
        *(BodyTooLarge, DigestMismatch, StorageUnavailable),
    ),
)
async def put_content(
    dataset: Reference,
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    content_digest: Annotated[
        str | SkipJsonSchema[None],  # absent, but never a text that says so
        Header(alias="Content-Digest", pattern=DIGEST, description="RFC 9530; it is checked."),
    ] = None,
) -> DatasetView:
    """Send a dataset's content, of any length. After a failure send it again from its beginning."""
    dataset_id = await run_in_threadpool(_expecting, services, caller.owner, dataset)
    received = await services.uploads.receive_body(request, dataset_id, content_digest)
    return await _accept(services, caller.owner, dataset_id, received)


@router.delete("/{dataset}", status_code=204, responses=problems(DatasetNotFound, DatasetIsBundled, DatasetInUse))
def delete_dataset(
    dataset: Reference, caller: CallerDep, session: SessionDep, after_commit: AfterCommitDep, services: ServicesDep
) -> None:
    """Delete a dataset that no job needs; jobs that have ended still name it."""
    uploads.remove(session, caller.owner, dataset)
    after_commit(lambda: discard_files(services.database, services.blobs))


async def _create_whole(request: Request, owner: str, services: Services) -> DatasetView:
    form = await read_form(request, services.settings.max_upload_bytes)
    try:
        spec, file = spec_in_form(form), file_in_form(form)
        view = await run_in_threadpool(_announce, services, owner, spec)
        try:
            received = await services.uploads.receive_file(file, view.id)
        except HeldoutError:
            await run_in_threadpool(_withdraw, services, owner, view.id)
            raise
    finally:
        await form.close()
    return await _accept(services, owner, view.id, received)


def _announce(services: Services, owner: str, spec: DatasetSpec) -> DatasetView:
    with services.database.write() as session:
        return dataset_view(uploads.announce(session, owner, spec))


def _withdraw(services: Services, owner: str, dataset_id: str) -> None:
    with services.database.write() as session:
        uploads.remove(session, owner, dataset_id)


def _expecting(services: Services, owner: str, reference: str) -> str:
    with services.database.read() as session:
        return uploads.uploaded_to(session, owner, reference).id


async def _accept(services: Services, owner: str, dataset_id: str, received: Received) -> DatasetView:
    """Have what was received checked; it is deleted where it is not needed."""
    try:
        view, is_kept = await run_in_threadpool(_queue, services, owner, dataset_id, received)
    except (DatasetNotFound, UploadFinished):
        await services.uploads.forget(received)
        raise
    if not is_kept:
        await services.uploads.forget(received)
    return view


def _queue(services: Services, owner: str, dataset_id: str, received: Received) -> tuple[DatasetView, bool]:
    with services.database.write() as session:
        row, job_id = uploads.received(
            session,
            owner,
            dataset_id,
            key=received.key,
            sha256=received.sha256,
            max_runtime_s=services.settings.max_check_s,
        )
        view = dataset_view(row)
    if job_id is not None:
        services.publisher.publish(job_id, "auto")
    return view, job_id is not None
