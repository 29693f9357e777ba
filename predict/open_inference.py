"""The Open Inference Protocol, version 2, for clients of Triton, MLServer and KServe. Each job is a model."""

import json
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.disconnects import DisconnectWatcher
from api.http.body import parse_json
from api.http.context import get_current_context
from api.http.problems import OPEN_INFERENCE
from api.http.routing import make_router
from heldout import __version__
from heldout.errors import InvalidTensor, JobNotFound, TooManyImages
from predict import metrics
from predict.images import Pixels, require_range
from predict.model import INPUT, OUTPUT, ServedModel
from predict.service import get_service
from predict.work import Pieces

# The header with the size of the JSON, in requests and answers with binary data after it.
JSON_LENGTH = "inference-header-content-length"
# Larger JSON takes ten times its size in memory, and blocks everything else while it is read.
MAX_JSON_BYTES = 8 * 1024**2
# How many numbers of an answer are written in one piece of work.
NUMBERS_AT_ONCE = 20_000
DATATYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}


@dataclass(frozen=True)
class InferenceRequest:
    """A parsed request. id: chosen by the client and sent back. is_binary: whether to answer with binary data."""

    id: str | None
    pixels: Pixels
    is_binary: bool


def count_json_bytes(body: bytes, json_length: str | None) -> int:
    """Return how many bytes of the body are JSON. Raises InvalidTensor if the number is too large or wrong.

    Args:
        json_length: the header with the number. None if the whole body is JSON.
    """
    count = len(body)
    if json_length is not None:
        if not json_length.isdecimal() or len(json_length) > 18 or int(json_length) > len(body):
            raise InvalidTensor(
                f"Received Inference-Header-Content-Length: {json_length[:32]}, but the body has {len(body):,} bytes."
            )
        count = int(json_length)
    if count > MAX_JSON_BYTES:
        raise InvalidTensor(
            f"Received {count:,} bytes of JSON, but the limit is {MAX_JSON_BYTES:,}. Send the tensor as binary data "
            "(`binary_data_size`), or fewer images at once."
        )
    return count


def read_request(body: bytes, json_bytes: int, model: ServedModel) -> Pieces[InferenceRequest]:
    """Parse a request. Raises InvalidTensor, TooManyImages, WrongRange, and InvalidJson or InvalidSpec for bad JSON."""
    request = parse_json(body[:json_bytes])
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list) or len(request["inputs"]) != 1:
        raise InvalidTensor(f"Expected an object with `inputs`, a list of one tensor named {INPUT!r}.")
    (tensor,) = request["inputs"]
    yield
    pixels = _parse_pixels(tensor, body[json_bytes:], model)
    yield
    require_range(pixels, 0, None, model)
    given = request.get("id")
    if given is not None and not isinstance(given, str):
        raise InvalidTensor("`id`: expected a text.")
    return InferenceRequest(given, pixels, _wants_binary(request))


def write_answer(
    request: InferenceRequest, model: ServedModel, probabilities: NDArray[np.float32]
) -> Pieces[tuple[bytes, dict[str, str]]]:
    """Write the answer's body and headers."""
    tensor: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(probabilities.shape)}
    answer: dict[str, Any] = {"model_name": model.facts.job_id, "model_version": "1"}
    if request.id is not None:
        answer["id"] = request.id
    answer["outputs"] = [tensor]
    if not request.is_binary:
        opening = json.dumps(answer).removesuffix("}]}")
        numbers, texts = probabilities.ravel(), []
        for first in range(0, len(numbers), NUMBERS_AT_ONCE):
            yield
            texts.append(json.dumps(numbers[first : first + NUMBERS_AT_ONCE].tolist())[1:-1])
        return f'{opening}, "data": [{", ".join(texts)}]}}]}}'.encode(), {"Content-Type": "application/json"}
    binary = np.ascontiguousarray(probabilities, "<f4").tobytes()
    tensor["parameters"] = {"binary_data_size": len(binary)}
    head = json.dumps(answer).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return head + binary, headers


def _parse_pixels(tensor: Any, binary: bytes, model: ServedModel) -> Pixels:
    """Parse the tensor as (images, height, width, channels), in float32 or uint8 as it was sent."""
    if not isinstance(tensor, dict) or tensor.get("name") != INPUT:
        received = tensor.get("name") if isinstance(tensor, dict) else tensor
        raise InvalidTensor(f"Received an input named {str(received)[:64]!r}; expected {INPUT!r}.")
    taken = ["FP32", "UINT8"] if model.facts.dtype == np.uint8 else ["FP32"]
    datatype = tensor.get("datatype")
    if datatype not in taken:
        raise InvalidTensor(f"{INPUT}: received datatype {str(datatype)[:32]!r}; expected {' or '.join(taken)}.")
    shape = tensor.get("shape")
    # A boolean is an integer to Python, but not in JSON.
    if not isinstance(shape, list) or not all(type(side) is int for side in shape) or shape[1:] != [*model.shape]:
        expected = ", ".join(map(str, model.shape))
        raise InvalidTensor(
            f"{INPUT}: received shape {str(shape)[:80]}; expected [images, {expected}] (height, width, channels)."
        )
    if shape[0] > model.max_images:
        raise TooManyImages(shape[0], model.max_images)
    if shape[0] < 1:
        raise InvalidTensor(f"{INPUT}: received {str(shape[0])[:32]} images; expected 1 to {model.max_images:,}.")
    dtype, count = DATATYPES[datatype], prod(shape)
    parameters = tensor.get("parameters") or {}
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None and not binary:
        return _parse_numbers(tensor.get("data"), dtype, shape, count)
    if type(size) is not int or size != len(binary) or size != count * dtype.itemsize or "data" in tensor:
        raise InvalidTensor(
            f"{INPUT}: received binary_data_size {str(size)[:32]} and {len(binary):,} bytes after the JSON. This shape "
            f"needs {count * dtype.itemsize:,} bytes, without `data`."
        )
    return np.frombuffer(binary, dtype).reshape(shape)


def _parse_numbers(data: Any, dtype: np.dtype[Any], shape: list[int], count: int) -> Pixels:
    try:
        numbers = _convert_to_floats(data)
    except (ValueError, TypeError, OverflowError):
        raise InvalidTensor(f"{INPUT}: `data` must be a list of numbers, flat or nested like the shape.") from None
    if np.isnan(numbers).any():  # JSON has no NaN
        raise InvalidTensor(f"{INPUT}: received `null` in `data`; expected numbers.")
    if numbers.size != count or (numbers.ndim > 1 and list(numbers.shape) != shape):
        raise InvalidTensor(
            f"{INPUT}: received `data` of shape {list(numbers.shape)}; expected {count:,} numbers, flat or nested like "
            "`shape`."
        )
    if dtype == np.uint8 and not np.all((numbers >= 0) & (numbers <= 255) & (numbers == np.floor(numbers))):
        raise InvalidTensor(f"{INPUT}: UINT8 needs whole numbers from 0 to 255, but `data` has others.")
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, and are refused as such
        pixels: Pixels = numbers.reshape(shape).astype(dtype)
    return pixels


def _convert_to_floats(data: Any) -> NDArray[np.float64]:
    """Convert the numbers, and `null` to NaN. Raises ValueError, TypeError or OverflowError for anything else."""
    # As objects, because numpy would accept texts and booleans as numbers, and pad all texts to the longest.
    given = np.array(data, object)
    if not set(map(type, given.flat)) <= {int, float, NoneType}:
        raise TypeError
    return given.astype(np.float64)


def _wants_binary(request: dict[str, Any]) -> bool:
    """Return whether the client wants binary data. Raises InvalidTensor for outputs that the model does not have."""
    wanted = _get_flag(request, "binary_data_output")
    outputs = request.get("outputs") or []
    if not isinstance(outputs, list):
        raise InvalidTensor("`outputs`: expected a list.")
    for output in outputs:
        if not isinstance(output, dict) or output.get("name") != OUTPUT:
            received = output.get("name") if isinstance(output, dict) else output
            raise InvalidTensor(f"Received an output named {str(received)[:64]!r}; expected {OUTPUT!r}.")
        if isinstance(output.get("parameters"), dict) and "classification" in output["parameters"]:
            raise InvalidTensor(
                "The extension `classification` is not supported. Use POST /v1/jobs/{id}/predict?top_k=… instead."
            )
        wanted = _get_flag(output, "binary_data", wanted)
    return wanted


def _get_flag(has_parameters: dict[str, Any], name: str, otherwise: bool = False) -> bool:
    parameters = has_parameters.get("parameters")
    value = parameters.get(name, otherwise) if isinstance(parameters, dict) else otherwise
    if not isinstance(value, bool):
        raise InvalidTensor(f"`{name}`: received {str(value)[:32]!r}; expected true or false.")
    return value


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
