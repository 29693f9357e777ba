"""Uploads models, as the body of a request or in a form. Lists, returns and deletes them."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from api.http.auth import CallerContext
from api.http.context import RequestContext
from api.http.deps import ModelId, ModelReference, ReadContext, WriteContext
from api.http.forms import IN_BLOCKS, answer_in_form
from api.http.idempotency import IdempotentRequest, IdempotentRequestDep
from api.http.parameters import AskedPage, make_page_dependency
from api.http.problems import NO_ROOM, UPLOADED, raises
from api.http.routing import make_router
from api.http.upload_body import DIGEST, ReceivedContent, describe_body, describe_file, get_form_file, read_form_texts
from api.live.streams import Accept
from api.routes.long_poll import MAX_WAIT_S
from heldout import errors
from heldout.documents.model import lay_out_model
from heldout.lifecycle.resources import FIRST_BYTES, MAX_ARCHITECTURE_BYTES, begins_as_architecture
from heldout.views.model import ModelPage, ModelView
from models.ids import make_id
from models.store import keys, models
from models.views.evaluation import build_model_view

router = make_router("/v1/models", "models")

ModelName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
_FILE = describe_file("A `.keras` file, an ONNX file, or the JSON of `model.to_json()`.")
_NAME = {"type": "string", "minLength": 1, "maxLength": 128, "description": "The same as the query parameter."}
_BODY = describe_body(["file"], {"file": _FILE, "name": _NAME}, {"application/octet-stream": _FILE})


class _Sent(BaseModel):
    """Distinguishes uploads with the same idempotency key."""

    model_config = ConfigDict(frozen=True)

    name: str | None
    sha256: str


@router.post(
    "", status_code=201, response_description="The model, `checking`: a worker will read its file.", openapi_extra=_BODY
)
@raises(errors.BodyTooLarge, errors.DigestMismatch, *UPLOADED, *NO_ROOM)
async def upload_model(
    request: Request,
    context: CallerContext,
    idempotent: IdempotentRequestDep,
    name: Annotated[
        ModelName | SkipJsonSchema[None],
        Query(description="The model's name. Default: the file's name, or the model's id."),
    ] = None,
    content_digest: Annotated[
        str | SkipJsonSchema[None],  # may be absent, but null is not a value of a header
        Header(alias="Content-Digest", pattern=DIGEST, description="RFC 9530. Compared with the received content."),
    ] = None,
) -> ModelView:
    """Upload a model: a `.keras` file with built-in layers only, an ONNX file, or an architecture alone as JSON."""
    await run_in_threadpool(_require_room, context)
    model_id = make_id("mod")
    folder, limit_bytes = f"models/{model_id}", context.app.settings.max_model_bytes
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
        async with context.app.uploads.form(request, context.owner, limit_bytes) as form:
            file = get_form_file(form)
            name = _get_form_name(form, file.filename) or name
            received = await context.app.uploads.receive_file(file, folder, _limit_architecture)
    else:
        received = await context.app.uploads.receive_body(
            request, context.owner, folder, content_digest, limit_bytes=limit_bytes, check=_limit_architecture
        )
    try:
        view = await run_in_threadpool(_add, context, model_id, name, received, idempotent)
    except errors.HeldoutError:
        await context.app.uploads.delete(received)
        raise
    if idempotent.is_replayed:
        await context.app.uploads.delete(received)
    return view


def _limit_architecture(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass the chunks of a file on. Raises BodyTooLarge if it begins as JSON, and has more than an architecture may."""
    first, size_bytes = b"", 0
    for chunk in chunks:
        first, size_bytes = (first + chunk)[:FIRST_BYTES], size_bytes + len(chunk)
        if size_bytes > MAX_ARCHITECTURE_BYTES and begins_as_architecture(first):
            raise errors.BodyTooLarge(MAX_ARCHITECTURE_BYTES)
        yield chunk


def _get_form_name(form: FormData, file_name: str | None) -> str | None:
    """Get the name from the form, or else from its file. Raises InvalidForm for other fields and for invalid names."""
    given = read_form_texts(form, ["name"]).get("name")
    name = file_name or None if given is None else given
    try:
        return TypeAdapter[str | None](ModelName | None).validate_python(name)
    except ValidationError:
        if given is None:
            return None  # file names need not be valid model names
        raise errors.InvalidForm("`name` must have 1 to 128 characters, without control characters.") from None


def _require_room(context: RequestContext) -> None:
    with context.read() as session:
        models.require_room(session, context.owner, 0)


def _add(
    context: RequestContext, model_id: str, name: str | None, received: ReceivedContent, idempotent: IdempotentRequest
) -> ModelView:
    def add() -> ModelView:
        row = models.add(
            session,
            context.owner,
            model_id,
            name or model_id,
            key=received.key,
            sha256=received.sha256,
            size_bytes=received.size_bytes,
            max_parameters=context.app.settings.max_parameters,
        )
        return build_model_view(row)

    with context.write() as session:
        # The upload may have taken hours, so the key is checked again.
        keys.require_valid(session, context.caller.key_id)
        view = idempotent.make(session, _Sent(name=name, sha256=received.sha256), add)
        context.note_change(session, view)
    return view


@router.get("")
def list_models(
    context: ReadContext,
    asked: Annotated[AskedPage, make_page_dependency("mod")],
) -> ModelPage:
    """List your models and those that the operator shares with all owners, newest first."""
    ids = models.list_page(context.session, context.owner, after=asked.after, limit=asked.limit)
    return asked.fill(
        ModelPage,
        ids,
        lambda block: [build_model_view(row, with_layers=False) for row in models.get_listed(context.session, block)],
    )


@router.get("/{model_id}", response_model=ModelView, responses=IN_BLOCKS)
async def get_model_file(
    model_id: ModelReference,
    context: CallerContext,
    response: Response,
    accept: Accept = "",
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for its file to be read.")
    ] = 0,
) -> Response | ModelView:
    """Get a model and what its file contains, now or once the file has been read."""
    view, check_job = await run_in_threadpool(_find, context, model_id)
    if wait and not view.has_ended:
        await context.app.hub.wait_for_end(check_job, wait)
        view, _ = await run_in_threadpool(_find, context, model_id)
    return answer_in_form(accept, response, view, lambda: lay_out_model(view))


@router.delete("/{model_id}", status_code=204)
@raises(errors.ModelIsShared, errors.ModelInUse)
def delete_model(model_id: ModelId, context: WriteContext) -> None:
    """Delete a model that no running evaluation needs. Its results stay, and jobs that start from it continue."""
    models.remove(context.session, context.owner, model_id)
    context.delete_files(f"models/{model_id}")


def _find(context: RequestContext, model_id: str) -> tuple[ModelView, str]:
    """Find the model, and the id of the job that reads its file."""
    with context.read() as session:
        row = models.find(session, context.owner, model_id)
        return build_model_view(row), row.check_job
