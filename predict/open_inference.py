"""The Open Inference Protocol, version 2, for clients of Triton, MLServer and KServe. Each job is a model."""

from contextlib import nullcontext
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.disconnects import DisconnectWatcher
from api.http.context import get_current_context
from api.http.problems import OPEN_INFERENCE
from api.http.routing import make_router
from heldout import __version__
from heldout.errors import JobNotFound
from predict import metrics
from predict.model import ServedModel
from predict.runtime import INPUT, OUTPUT
from predict.service import get_service
from predict.tensors import JSON_LENGTH, InferenceRequest, count_json_bytes, read_request, write_answer
from predict.work import Pieces

DEFAULT_WAIT_S = 30.0
VERSION = "1"
# JSON over SHORT_JSON_BYTES and bodies over SHORT_BYTES are read in a thread; JSON over LARGE_JSON_BYTES one at a time.
SHORT_JSON_BYTES = 16_384
LARGE_JSON_BYTES = 65_536
SHORT_BYTES = 1024**2


server_router = make_router(OPEN_INFERENCE, "predictions", needs_key=False)
models_router = make_router(f"{OPEN_INFERENCE}/models/{{job_id}}", "predictions", scope="read", is_predicting=True)


@server_router.get("")
async def describe_server() -> JSONResponse:
    return JSONResponse({"name": "heldout", "version": __version__, "extensions": ["binary_tensor_data"]})


@server_router.get("/health/live")
async def report_live() -> JSONResponse:
    return JSONResponse({"live": True})


@server_router.get("/health/ready")
async def report_ready() -> JSONResponse:
    return JSONResponse({"ready": True})


@models_router.get("")
@models_router.get("/versions/{version}")
async def describe_model(request: Request) -> JSONResponse:
    model = await _get_model(request)
    return JSONResponse(
        {
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
    )


@models_router.get("/ready")
@models_router.get("/versions/{version}/ready")
async def report_model_ready(request: Request) -> JSONResponse:
    """Report whether the model can answer immediately. If it was never exported, this orders the export."""
    model = await _get_model(request, wait_s=0.0)
    return JSONResponse({"name": model.facts.job_id, "ready": True})


@models_router.post("/infer")
@models_router.post("/versions/{version}/infer")
async def infer(request: Request) -> Response:
    service, model = get_service(get_current_context().app), await _get_model(request)
    owner = model.facts.owner
    async with service.bodies.received(request, owner) as body:
        count = count_json_bytes(body, request.headers.get(JSON_LENGTH))
        is_small = count <= SHORT_JSON_BYTES and len(body) <= SHORT_BYTES
        async with service.large_json.taken(owner) if count > LARGE_JSON_BYTES else nullcontext():
            asked = await service.work.run(owner, read_request(body, count, model), is_short=is_small)
        images = len(asked.pixels)
        with DisconnectWatcher(request.receive) as departure:
            content, headers = await service.run_pieces(
                model,
                _infer(asked, model),
                model.estimate_answer_bytes(images),
                departure,
                is_short=is_small and model.is_short(images),
            )
    metrics.IMAGES.inc(images)
    return Response(content, headers=headers)


def _infer(asked: InferenceRequest, model: ServedModel) -> Pieces[tuple[bytes, dict[str, str]]]:
    probabilities = yield from model.answer(_convert_to_stored(asked.pixels, model), asked.pixels)
    return (yield from write_answer(asked, model, probabilities))


def _convert_to_stored(pixels: Any, model: ServedModel) -> Any:
    """Return the images as the dataset would store them, without those whose values it could not store."""
    if pixels.dtype == model.facts.dtype:
        return pixels
    rounded = pixels.astype(model.facts.dtype)
    return rounded[(rounded == pixels).all(axis=(1, 2, 3))]


async def _get_model(request: Request, wait_s: float = DEFAULT_WAIT_S) -> ServedModel:
    job_id = request.path_params["job_id"]
    if request.path_params.get("version", VERSION) != VERSION:
        raise JobNotFound(job_id)
    return await get_service(get_current_context().app).get_model(job_id, wait_s)
