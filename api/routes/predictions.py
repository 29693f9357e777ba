"""Predictions of jobs' models, also by the Open Inference Protocol.

The API forwards these requests to the processes of `predict/`.
"""

from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import Response

from api.http.app_context import AskedPrediction
from api.http.context import get_current_context
from api.http.deps import JobId
from api.http.problems import EXPORT_PROBLEMS, OPEN_INFERENCE, raises
from api.http.routing import make_router
from api.http.upload_body import describe_body, describe_file
from api.routes.long_poll import MAX_WAIT_S
from heldout import errors
from heldout.views.results import PredictionsView

router = make_router("", "predictions", scope="read", is_predicting=True)
# The protocol has its own documentation. Probes request the server and its health without a key.
models_router = make_router(f"{OPEN_INFERENCE}/models", "predictions", scope="read", is_predicting=True)
server_router = make_router(OPEN_INFERENCE, "predictions", needs_key=False, is_predicting=True)

_FORM = describe_body(
    ["images"], {"images": {"type": "array", "items": describe_file()}}, {"application/octet-stream": describe_file()}
)
_IMAGES = {"requestBody": _FORM["requestBody"]}  # these routes have parameters that may be absent
_MODEL_ERRORS = (errors.NotReady, errors.NoModel, errors.PredictionsUnavailable, errors.FileOfLaterRelease)
_IMAGE_ERRORS = (
    errors.BodyTooLarge,
    errors.InvalidForm,
    errors.UnsupportedMediaType,
    errors.NoImages,
    errors.TooManyImages,
    errors.NoTemperature,
    errors.ImageRefused,
    errors.WrongSize,
    errors.WrongChannels,
    errors.WrongDtype,
    errors.WrongRange,
)


@router.post("/v1/jobs/{job_id}/predict", response_model=PredictionsView, openapi_extra=_IMAGES)
@raises(*_MODEL_ERRORS, *EXPORT_PROBLEMS, *_IMAGE_ERRORS)
async def predict(
    request: Request,
    job_id: JobId,
    top_k: Annotated[int, Query(ge=1, le=1000, description="How many classes to return per image.")] = 5,
    threshold: Annotated[
        float | None, Query(ge=0, le=1, description="Predictions below this probability are `uncertain`.")
    ] = None,
    calibrated: Annotated[
        Literal["true", "false"],
        Query(description="`true`: scale probabilities by the temperature fitted on the validation split."),
    ] = "false",
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for the model's export.")
    ] = 30,
) -> Response:
    """Classify images with the job's model: a PNG, JPEG, WebP or BMP, an `.npy` of one or more, or a form of files.

    Images are prepared by the same rules as those of the dataset. The first request orders the model's export to ONNX
    and waits for it. The ledger counts test images of the job's dataset.
    """
    asked = AskedPrediction(top_k=top_k, threshold=threshold, calibrated=calibrated == "true", wait_s=wait)
    return await get_current_context().app.predictions.predict(request, job_id, asked)


@server_router.get("", include_in_schema=False)
@server_router.get("/health/{what}", include_in_schema=False)
@models_router.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
async def pass_on(request: Request) -> Response:
    """Answer a request of the Open Inference Protocol."""
    return await get_current_context().app.predictions.pass_on(request)
