"""POST /v1/jobs/{id}/predict: images in, classes by their names out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.departure import Departure
from heldout.errors import InvalidParameter, NoTemperature
from predict import metrics
from predict.answers import answers_of, softened
from predict.bodies import files_in
from predict.images import NPY_MAGIC, ImageFile, OpenedFiles, open_files, pixels_of
from predict.model import ServedModel
from predict.service import DEFAULT_WAIT_S, Service
from predict.work import Pieces

MAX_TOP_K = 1000
MAX_WAIT_S = 60.0
# A file of more pixels or bytes is opened and decoded in a thread; so is a PNG with parts that unpack to any size.
SHORT_PIXELS = 65_536
SHORT_PNG_BYTES = 65_536
SHORT_NPY_BYTES = 1024**2
PNG_MAGIC = b"\x89PNG"
PACKED = (b"zTXt", b"iTXt", b"iCCP")
# Of so many probabilities the answer is written at once.
CHANCES_AT_ONCE = 10_000


@dataclass(frozen=True)
class Options:
    """What a request asks for beside the images. The API documents it: api/routes/predictions.py."""

    top_k: int = 5
    threshold: float | None = None
    calibrated: bool = False
    wait_s: float = DEFAULT_WAIT_S


async def predict(request: Request) -> Response:
    service: Service = request.app.state.service
    job_id = request.path_params["job_id"]
    caller = await service.callers.caller_of(request, job_id)
    options = options_in(request.query_params)
    model = await service.model_for(caller, job_id, options.wait_s)
    if options.calibrated and model.facts.temperature is None:
        raise model.facts.temperature_lost or NoTemperature(model.facts.job_id)
    async with service.bodies.received(request, model.facts.owner) as body:
        files = await files_in(request, body, service.forms, model.facts.owner)
        is_small = len(files) == 1 and _is_small(files[0])
        departure = Departure(request.receive)
        departure.begin()
        try:
            opened = await service.work.run(
                model.facts.owner,
                open_files(files, model),
                is_short=is_small,
                before_each=departure.require_client,
            )
            content = await service.answered(
                model,
                _answered(opened, model, options),
                opened.memory_bytes + model.answer_bytes(opened.images),
                departure,
                is_short=is_small and opened.pixels <= SHORT_PIXELS and model.is_short(opened.images),
            )
        finally:
            departure.end()
    metrics.IMAGES.inc(opened.images)
    return Response(content, headers=request.state.counted, media_type="application/json")


def options_in(params: Mapping[str, str]) -> Options:
    """Raises InvalidParameter."""
    for name in params:
        if name not in ("top_k", "threshold", "calibrated", "wait"):
            raise InvalidParameter(
                f"There is no query parameter {name[:64]!r} here; this route takes calibrated, threshold, top_k, wait."
            )
    threshold = params.get("threshold")
    calibrated = params.get("calibrated", "false")
    if calibrated not in ("true", "false"):
        raise InvalidParameter(f"`calibrated`: received {calibrated[:64]!r}; expected `true` or `false`.")
    return Options(
        top_k=int(_number(params.get("top_k", "5"), "top_k", 1, MAX_TOP_K, whole=True)),
        threshold=None if threshold is None else _number(threshold, "threshold", 0, 1),
        calibrated=calibrated == "true",
        wait_s=_number(params.get("wait", str(DEFAULT_WAIT_S)), "wait", 0, MAX_WAIT_S),
    )


def _number(text: str, name: str, low: float, high: float, *, whole: bool = False) -> float:
    try:
        value = float(int(text)) if whole else float(text)
    except (ValueError, OverflowError):
        value = float("nan")
    if not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise InvalidParameter(f"`{name}`: received {text[:64]!r}; expected {kind} from {low:g} to {high:g}.")
    return value


def _is_small(file: ImageFile) -> bool:
    """Whether its header is read sooner than a thread has begun."""
    content = file.content
    if content.startswith(NPY_MAGIC):
        return len(content) <= SHORT_NPY_BYTES
    if len(content) > SHORT_PNG_BYTES or not content.startswith(PNG_MAGIC):
        return False
    return not any(part in content for part in PACKED)


def _answered(opened: OpenedFiles, model: ServedModel, options: Options) -> Pieces[bytes]:
    stored, names = yield from pixels_of(opened, model)
    probabilities = yield from model.answer(stored, stored)
    temperature = model.facts.temperature if options.calibrated else None
    view: dict[str, Any] = {
        "object": "predictions",
        "job_id": model.facts.job_id,
        "weights_sha256": model.weights_sha256,
        "temperature": temperature,
        "threshold": options.threshold,
        "predictions": [],
    }
    head, end = json.dumps(view, ensure_ascii=False).removesuffix("]}"), "]}"
    found: list[str] = []
    images = max(1, CHANCES_AT_ONCE // len(model.classes))
    for first in range(0, len(probabilities), images):
        yield
        some: Any = probabilities[first : first + images]
        if temperature is not None:
            some = softened(some, temperature)
        answers = answers_of(
            some, model.classes, names[first : first + images], top_k=options.top_k, threshold=options.threshold
        )
        found += [json.dumps(answer, ensure_ascii=False) for answer in answers]
    return f"{head}{', '.join(found)}{end}".encode()


routes = [Route("/v1/jobs/{job_id}/predict", predict, methods=["POST"])]
