"""Predictions of jobs' models, and the same models by the Open Inference Protocol. Processes of `predict/` answer."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.http.auth import CallerDep
from api.http.deps import JobId
from api.http.problems import NO_ROOM, problems
from api.http.routing import resource
from api.passed_on import HEALTH, MODEL, PREDICT, SERVER, error_response
from api.predictions import NOBODY
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

router = resource("", "predictions", scope="read")
open_inference_router = APIRouter(include_in_schema=False)

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


# `api/passed_on.py` takes these requests before they come here, unless no process is named that answers them.


@router.post(
    PREDICT, response_model=PredictionsView, openapi_extra=_IMAGES, responses=problems(*_OF_MODELS, *_OF_IMAGES)
)
async def predict(
    job_id: JobId,
    caller: CallerDep,
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
    raise PredictionsUnavailable(NOBODY)


# The protocol has a document of its own.
@open_inference_router.api_route(SERVER, methods=["GET"])
@open_inference_router.api_route(HEALTH, methods=["GET"])
@open_inference_router.api_route(MODEL, methods=["GET", "POST"])
async def ask_inference_server(request: Request) -> Response:
    """A job's model by the Open Inference Protocol."""
    return error_response(PredictionsUnavailable(NOBODY), request.scope["path"])
