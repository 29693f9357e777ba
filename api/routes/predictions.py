"""Predictions of jobs' models, and the same models by the Open Inference Protocol.

Processes of `predict/` answer; the API passes on what it is asked.
"""

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from starlette.responses import Response

from api.http.app_context import AskedPrediction
from api.http.context import get_current_context
from api.http.deps import JobId
from api.http.problems import NO_ROOM, OPEN_INFERENCE, document_errors
from api.http.routing import make_router
from api.routes.long_poll import MAX_WAIT_S
from heldout.errors import (
    BodyTooLarge,
    DatasetNotFound,
    ExportDiffers,
    ExportFailed,
    ExportLost,
    ExportNotReady,
    ExportNotSupported,
    FileOfLaterRelease,
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

router = make_router("", "predictions", scope="read", is_predicting=True)
# The protocol has a document of its own. Probes ask for the server and its health without a key.
models_router = make_router(f"{OPEN_INFERENCE}/models", "predictions", scope="read", is_predicting=True)
server_router = make_router(OPEN_INFERENCE, "predictions", needs_key=False, is_predicting=True)

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
    *(
        ExportNotReady,
        ExportDiffers,
        ExportFailed,
        ExportLost,
        ExportNotSupported,
        StorageUnavailable,
        FileOfLaterRelease,
    ),
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
    responses=document_errors(*_OF_MODELS, *_OF_IMAGES),
)
async def predict(
    request: Request,
    job_id: JobId,
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
    asked = AskedPrediction(top_k=top_k, threshold=threshold, calibrated=calibrated == "true", wait_s=wait)
    return await get_current_context().app.predictions.predict(request, job_id, asked)


@server_router.get("", include_in_schema=False)
@server_router.get("/health/{what}", include_in_schema=False)
@models_router.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
async def pass_on(request: Request) -> Response:
    """The server or a job's model, by the Open Inference Protocol."""
    return await get_current_context().app.predictions.pass_on(request)
