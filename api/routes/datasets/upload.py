"""Creates datasets, by an announcement followed by the content or by one form, and deletes them."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import structlog
from fastapi import Header, Request
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from api.http.auth import CallerContext
from api.http.body import parse_json
from api.http.context import RequestContext
from api.http.deps import WriteContext
from api.http.idempotency import IdempotentRequest, IdempotentRequestDep
from api.http.problems import JSON_BODY, NO_ROOM, UPLOADED, raises
from api.http.routing import make_router
from api.http.upload_body import (
    DIGEST,
    FIELDS,
    ReceivedContent,
    describe_body,
    describe_file,
    get_form_file,
    read_form_texts,
)
from api.routes.datasets.dataset import Reference
from heldout import errors
from heldout.spec.dataset import DatasetSpec, ResizeSpec
from heldout.spec.field_errors import validate
from heldout.views.dataset import DatasetView
from models.database import Session
from models.store import discards, idempotency, keys, quotas, uploads
from models.views.dataset import build_dataset_view

log = structlog.get_logger("heldout.api")

router = make_router("/v1/datasets", "datasets")

# Form fields whose text is JSON. In all other fields, the text is the value itself.
JSON_FIELDS = ("splits", "resize")
# Also JSON, but without an encoding in the OpenAPI document: true and false are plain text there, too.
BOOLEAN_FIELDS = ("skip_broken",)
_CUT_BY_CURL = "With curl, `-F` ends a text at `;`: send it with `--form-string 'group_by=…'`."
COMPONENT = "#/components/schemas/{model}"
NEW_DATASET = describe_body(
    ["name", "file"],
    {
        "file": describe_file("The content."),
        **DatasetSpec.model_json_schema(ref_template=COMPONENT)["properties"],
    },
    {"application/json": {"$ref": COMPONENT.format(model="DatasetSpec")}},
    json_fields=JSON_FIELDS,
)
CONTENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An `.npz`, a Parquet file, or a zip or tar of `class/file` or `split/class/file`, or "
        "of archives such as `train.zip` and `test.zip`, each of which is read as a folder.",
        "content": {"application/octet-stream": {"schema": describe_file()}},
    }
}


@router.post(
    "",
    status_code=201,
    response_description="The dataset: `uploading` until its content arrives, or `checking` if a form contained it.",
    openapi_extra=NEW_DATASET,
)
@raises(*UPLOADED, errors.DatasetNotFound, errors.UploadFinished, *NO_ROOM, *JSON_BODY)
async def create_dataset(request: Request, context: CallerContext, idempotent: IdempotentRequestDep) -> DatasetView:
    """Announce the next version of a name. Send its content with PUT, or all in one form."""

    def add(session: Session, spec: DatasetSpec) -> DatasetView:
        return build_dataset_view(uploads.announce(session, context.owner, spec))

    def announce(spec: DatasetSpec, *, is_all: bool = False) -> DatasetView:
        with context.write() as session:
            view = idempotent.make(session, spec, lambda: add(session, spec))
            if is_all:
                context.note_change(session, view)
            return view

    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
        return await _create_whole(request, context, announce, idempotent)
    async with context.app.large_bodies.received(request, context.app.settings.max_body_bytes, context.owner) as raw:
        return await run_in_threadpool(lambda: announce(validate(DatasetSpec, parse_json(raw)), is_all=True))


@router.put(
    "/{dataset}/content",
    status_code=202,
    response_description="Received; a worker will read it. Sending the same content again changes nothing.",
    openapi_extra=CONTENT,
)
@raises(errors.DatasetIsBundled, errors.UploadFinished, errors.BodyTooLarge, errors.DigestMismatch, *UPLOADED, *NO_ROOM)
async def put_content(
    dataset: Reference,
    request: Request,
    context: CallerContext,
    content_digest: Annotated[
        str | SkipJsonSchema[None],  # may be absent, but null is not a value of a header
        Header(alias="Content-Digest", pattern=DIGEST, description="RFC 9530. Compared with the received content."),
    ] = None,
) -> DatasetView:
    """Send a dataset's content, of any length. After a failure, send it again from the beginning."""
    dataset_id = await run_in_threadpool(_require_expecting, context, dataset)
    received = await context.app.uploads.receive_body(request, context.owner, f"uploads/{dataset_id}", content_digest)
    return await _accept(context, dataset_id, received)


@router.post(
    "/{dataset}/resize",
    status_code=202,
    response_description="The dataset, `checking`: a worker reads its upload again.",
)
@raises(errors.DatasetIsBundled, errors.UploadNotKept, *NO_ROOM)
def resize_upload(dataset: Reference, size: ResizeSpec, context: WriteContext) -> DatasetView:
    """Read an upload that was rejected for the sizes of its images again, with one size for all. Nothing is sent again.

    Such an upload is kept until `upload_kept_until`, and counts toward the quota of stored bytes.
    """
    limit_s = context.app.settings.max_ingest_s
    return build_dataset_view(uploads.resize(context.session, context.owner, dataset, size, max_runtime_s=limit_s))


@router.delete("/{dataset}", status_code=204)
@raises(errors.DatasetIsBundled, errors.DatasetInUse)
def delete_dataset(dataset: Reference, context: WriteContext) -> None:
    """Delete a dataset that no job needs. Jobs that have ended still name it. Its files are removed within a minute."""
    # Files are removed later: the duration would reveal whether another owner has the same content.
    discards.remove(context.session, context.owner, dataset)


def _parse_form_spec(form: FormData) -> DatasetSpec:
    """Parse the dataset spec in a form. It has the fields of the JSON body; `splits` and `resize` are JSON texts.

    Raises:
        InvalidForm, InvalidSpec, InvalidJson.
    """
    fields: dict[str, Any] = {}
    for name, text in read_form_texts(form, FIELDS).items():
        if _holds_fields(text):
            raise errors.InvalidForm(
                f"The field {name!r} contains other fields instead of a text. `curl -F` treats a text that begins with "
                f"`(` as a group of fields: send it with `--form-string '{name}=(…)'`."
            )
        is_json = name in JSON_FIELDS + BOOLEAN_FIELDS
        # A text in quotes is refused like one in a JSON body if it cannot be stored.
        fields[name] = parse_json((text if is_json else json.dumps(text)).encode())
    try:
        return validate(DatasetSpec, fields)
    except errors.InvalidSpec as refused:
        if not any(field_error.pointer == "/group_by" for field_error in refused.errors):
            raise
        cut = [
            errors.FieldError(
                field_error.pointer,
                f"{field_error.detail} {_CUT_BY_CURL}" if field_error.pointer == "/group_by" else field_error.detail,
            )
            for field_error in refused.errors
        ]
        raise errors.InvalidSpec(f"{refused.detail} {_CUT_BY_CURL}", errors=cut) from None


def _holds_fields(text: str) -> bool:
    """Return whether a text is itself a multipart body, which curl sends if a value begins with `(`."""
    lines = text.strip().splitlines()
    return bool(lines) and lines[0].startswith("--") and lines[-1] == f"{lines[0].removesuffix('--')}--"


async def _create_whole(
    request: Request,
    context: RequestContext,
    announce: Callable[[DatasetSpec], DatasetView],
    idempotent: IdempotentRequest,
) -> DatasetView:
    """Announce a dataset and receive its content. As with PUT, sending the same content again changes nothing."""
    async with context.app.uploads.form(request, context.owner, context.app.settings.max_upload_bytes) as form:
        spec, file = _parse_form_spec(form), get_form_file(form)
        change = context.change
        view = await run_in_threadpool(announce, spec)
        context.change = change  # a repeated announcement changes nothing, but its content may be new
        try:
            received = await context.app.uploads.receive_file(file, f"uploads/{view.id}")
            return await _accept(context, view.id, received)
        except errors.HeldoutError as refusal:
            if not idempotent.is_replayed:  # otherwise the dataset belongs to an earlier request
                await run_in_threadpool(_withdraw, context, view.id, idempotent.key)
            elif isinstance(refusal, errors.UploadFinished) and refusal.has_other_content:
                raise errors.IdempotencyKeyReused from None
            raise


def _withdraw(context: RequestContext, dataset_id: str, idempotency_key: str | None) -> None:
    """Undo an announcement whose content failed, so that the same request can be sent again."""
    with context.write() as session:
        discards.remove(session, context.owner, dataset_id)
        if idempotency_key is not None:
            idempotency.forget(session, context.owner, idempotency_key)


def _require_expecting(context: RequestContext, reference: str) -> str:
    with context.read() as session:
        dataset_id = uploads.get_owned_dataset(session, context.owner, reference).id
        # Checked before the content is received, and again when the job that reads it is queued.
        quotas.require_room(session, context.owner, *quotas.OF_UPLOADS)
    return dataset_id


async def _accept(context: RequestContext, dataset_id: str, received: ReceivedContent) -> DatasetView:
    """Queue the ingest of an upload. Deletes the upload if no ingest is needed."""
    try:
        view, is_kept = await run_in_threadpool(_queue, context, dataset_id, received)
    except (errors.DatasetNotFound, errors.UploadFinished, errors.Unauthenticated, *NO_ROOM):
        await context.app.uploads.delete(received)
        raise
    if not is_kept:
        await context.app.uploads.delete(received)
    return view


def _queue(context: RequestContext, dataset_id: str, received: ReceivedContent) -> tuple[DatasetView, bool]:
    with context.write() as session:
        # The upload may have taken hours, so the key is checked again.
        keys.require_valid(session, context.caller.key_id)
        row, is_needed = uploads.receive(
            session,
            context.owner,
            dataset_id,
            key=received.key,
            sha256=received.sha256,
            max_runtime_s=context.app.settings.max_ingest_s,
            size_bytes=received.size_bytes,
        )
        view = build_dataset_view(row)
        if is_needed:
            context.note_change(session, view)
    return view, is_needed
