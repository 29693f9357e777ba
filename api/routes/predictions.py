"""Predictions of jobs' models, and the same models by the Open Inference Protocol. Processes of `predict/` answer."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response
from structlog.contextvars import get_contextvars

from api.http.auth import KeyDep, key_of, require_valid_key
from api.http.context import current_context, request_context
from api.http.deps import AppContextDep, JobId
from api.http.problems import NO_ROOM, problems
from api.http.routing import ResourceRoute, resource
from api.predictions import Body
from api.routes.long_poll import MAX_WAIT_S
from heldout.errors import (
    BodyTooLarge,
    DatasetNotFound,
    ExportDiffers,
    ExportFailed,
    ExportNotReady,
    ExportNotSupported,
    FileOfLaterRelease,
    HeldoutError,
    ImageRefused,
    InvalidForm,
    JobNotFound,
    ModelLost,
    NoImages,
    NoModel,
    NoTemperature,
    NotReady,
    PredictionsUnavailable,
    StorageUnavailable,
    TooManyImages,
    UnsupportedMediaType,
    WrongChannels,
    WrongDtype,
    WrongRange,
    WrongSize,
)
from heldout.views.prediction import PredictionsView
from models.store import callers


class _PassedOnRoute(ResourceRoute):
    """A route that another process answers: it looks the key up, and counts the requests that come there."""

    scope = "read"
    is_passed_on = True


class _OpenInferenceRoute(APIRoute):
    """A route of a protocol that has errors of its own."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_errors(request: Request) -> Response:
            try:
                return await handle(request)
            except HeldoutError as error:
                return JSONResponse({"error": error.detail}, error.status, error.headers)

        return handle_errors


router = resource("", "predictions", scope="read")
router.route_class = _PassedOnRoute
open_inference_router = APIRouter(route_class=_OpenInferenceRoute, include_in_schema=False)

_FILE = {"schema": {"type": "string", "format": "binary"}}
_IMAGES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": _FILE,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "additionalProperties": False,
                    "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
        },
    }
}
_OF_MODELS = (
    *(JobNotFound, NotReady, NoModel, ModelLost, DatasetNotFound, PredictionsUnavailable),
    *(ExportNotReady, ExportDiffers, ExportFailed, ExportNotSupported, StorageUnavailable, FileOfLaterRelease),
    *NO_ROOM,
)
_OF_IMAGES = (
    *(BodyTooLarge, InvalidForm, UnsupportedMediaType, NoImages, TooManyImages, NoTemperature),
    *(ImageRefused, WrongSize, WrongChannels, WrongDtype, WrongRange),
)


@router.post(
    "/v1/jobs/{job_id}/predict",
    response_model=PredictionsView,
    openapi_extra=_IMAGES,
    responses=problems(*_OF_MODELS, *_OF_IMAGES),
)
async def predict(
    request: Request,
    job_id: JobId,
    key: KeyDep,
    app: AppContextDep,
    top_k: Annotated[int, Query(ge=1, le=1000, description="How many classes of each image are named.")] = 5,
    threshold: Annotated[
        float | None, Query(ge=0, le=1, description="Below this probability the answer is `uncertain`.")
    ] = None,
    calibrated: Annotated[
        Literal["true", "false"],
        Query(description="`true`: probabilities under the temperature that was fitted on validation."),
    ] = "false",
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for the model's export.")
    ] = 30,
) -> Response:
    """What the job's model says of images: a PNG, JPEG, WebP or BMP, an `.npy` of one or many, or a form of files.

    They become what the dataset's own images became, by the same rules. The first request orders the model's export to
    ONNX, and waits for it. Test images of the job's dataset are counted in the ledger.
    """
    return await _passed_on(request, key, app)


# The protocol has a document of its own.
@open_inference_router.api_route("/v2", methods=["GET"])
@open_inference_router.api_route("/v2/health/{what}", methods=["GET"])
async def ask_inference_server(request: Request, app: AppContextDep) -> Response:
    """What the server of models is, and whether it answers; probes ask for that without a key."""
    body = await Body.of(request)
    return await app.predictions.answer(request, body, credential="", who="", request_id=_request_id())


@open_inference_router.api_route("/v2/models/{path:path}", methods=["GET", "POST"])
async def ask_inference_model(request: Request, app: AppContextDep) -> Response:
    """A job's model by the Open Inference Protocol."""
    key = await key_of(request)
    with request_context(app, key, "read", None):
        return await _passed_on(request, key, app)


async def _passed_on(request: Request, key: str, app: AppContextDep) -> Response:
    context, who = current_context(), key
    if not callers.is_well_formed(key):
        await require_valid_key(request, context)  # raises, and takes some of the body
    body = await Body.of(request)
    if not body.is_whole:
        # It holds a connection as long as its sender likes: only who is known may do that.
        await require_valid_key(request, context)
        who = context.caller.owner
    return await app.predictions.answer(request, body, credential=key, who=who, request_id=_request_id())


def _request_id() -> str:
    return str(get_contextvars().get("request_id", ""))
