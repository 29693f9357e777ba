"""Reads requests and writes answers of the Open Inference Protocol v2: tensors in JSON, or as binary data after it."""

import json
from dataclasses import dataclass
from math import prod
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.http.body import parse_json
from heldout.errors import InvalidTensor, TooManyImages
from predict.images import Pixels, require_range
from predict.model import ServedModel
from predict.runtime import INPUT, OUTPUT
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
        raise InvalidTensor(f"{INPUT}: received {numbers.size:,} numbers in `data`, but this shape needs {count:,}.")
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
    """Whether the client wants binary data. Raises InvalidTensor for outputs that the model does not have."""
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
