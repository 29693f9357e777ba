"""The Open Inference Protocol, version 2, as Triton's, MLServer's and KServe's clients speak it. A job is a model."""

from contextlib import nullcontext
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.departure import Departure
from heldout import __version__
from heldout.errors import (
    ExportNotReady,
    HeldoutError,
    ImageRefused,
    InvalidJson,
    InvalidSpec,
    InvalidTensor,
    JobNotFound,
    NotReady,
    TooManyImages,
)
from predict import metrics
from predict.model import ServedModel
from predict.runtime import INPUT, OUTPUT
from predict.service import DEFAULT_WAIT_S, Service
from predict.tensors import JSON_LENGTH, InferenceRequest, error_body, json_bytes, read_request, write_answer
from predict.work import Pieces

VERSION = "1"
READY_WAIT_S = 0.0
# More JSON, and larger bodies, are read in a thread; much JSON by one thread at a time.
SHORT_JSON_BYTES = 16_384
LARGE_JSON_BYTES = 65_536
SHORT_BYTES = 1024**2


def error_response(error: HeldoutError) -> Response:
    """`{"error": …}`: 400 for every fault of the request's content, 503 while a model is not there yet."""
    status = error.status
    if isinstance(error, (InvalidJson, InvalidSpec, InvalidTensor, ImageRefused, TooManyImages)):
        status = 400
    elif isinstance(error, (NotReady, ExportNotReady)):
        status = 503
    return Response(error_body(error), status, headers=error.headers, media_type="application/json")


async def server_metadata(request: Request) -> Response:
    return JSONResponse({"name": "heldout", "version": __version__, "extensions": ["binary_tensor_data"]})


async def server_live(request: Request) -> Response:
    return JSONResponse({"live": True})


async def server_ready(request: Request) -> Response:
    return JSONResponse({"ready": True})


async def model_metadata(request: Request) -> Response:
    model = await _model_of(request)
    return JSONResponse(_metadata(model), headers=request.state.counted)


async def model_ready(request: Request) -> Response:
    """Whether the model answers at once. One that was never exported is ordered by the question."""
    model = await _model_of(request, READY_WAIT_S)
    return JSONResponse({"name": model.facts.job_id, "ready": True}, headers=request.state.counted)


async def infer(request: Request) -> Response:
    service: Service = request.app.state.service
    model = await _model_of(request)
    async with service.bodies.received(request, model.facts.owner) as body:
        count = json_bytes(body, request.headers.get(JSON_LENGTH))
        is_small = count <= SHORT_JSON_BYTES and len(body) <= SHORT_BYTES
        owner = model.facts.owner
        async with service.large_json.taken(owner) if count > LARGE_JSON_BYTES else nullcontext():
            asked = await service.work.run(owner, read_request(body, count, model), is_short=is_small)
        images = len(asked.pixels)
        departure = Departure(request.receive)
        departure.begin()
        try:
            content, own_headers = await service.answered(
                model,
                _inferred(asked, model),
                model.answer_bytes(images),
                departure,
                is_short=is_small and model.is_short(images),
            )
        finally:
            departure.end()
    metrics.IMAGES.inc(images)
    return Response(content, headers=request.state.counted | own_headers)


def _inferred(asked: InferenceRequest, model: ServedModel) -> Pieces[tuple[bytes, dict[str, str]]]:
    probabilities = yield from model.answer(_as_stored(asked.pixels, model), asked.pixels)
    return (yield from write_answer(asked, model, probabilities))


def _as_stored(pixels: Any, model: ServedModel) -> Any:
    """The images as the dataset would store them; what is between two of its values is no image of it."""
    if pixels.dtype == model.facts.dtype:
        return pixels
    rounded = pixels.astype(model.facts.dtype)
    return rounded[(rounded == pixels).all(axis=(1, 2, 3))]


async def _model_of(request: Request, wait_s: float = DEFAULT_WAIT_S) -> ServedModel:
    service: Service = request.app.state.service
    job_id = request.path_params["job_id"]
    caller = await service.callers.caller_of(request, job_id)
    if request.path_params.get("version", VERSION) != VERSION:
        raise JobNotFound(job_id)
    return await service.model_for(caller, job_id, wait_s)


def _metadata(model: ServedModel) -> dict[str, Any]:
    return {
        "name": model.facts.job_id,
        "versions": [VERSION],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, *model.shape]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(model.classes)]}],
        "parameters": {
            "classes": list(model.classes),
            "range": list(model.range),
            "max_images": model.max_images,
            "weights_sha256": model.weights_sha256,
        },
    }


_MODEL = "/v2/models/{job_id}"
routes = [
    Route("/v2", server_metadata),
    Route("/v2/health/live", server_live),
    Route("/v2/health/ready", server_ready),
    *(
        Route(f"{prefix}{path}", endpoint, methods=methods)
        for prefix in (_MODEL, f"{_MODEL}/versions/{{version}}")
        for path, endpoint, methods in (
            ("", model_metadata, ["GET"]),
            ("/ready", model_ready, ["GET"]),
            ("/infer", infer, ["POST"]),
        )
    ),
]
