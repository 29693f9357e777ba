"""Turns probabilities into answers for clients: class names, the most probable first, or "uncertain"."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from analysis.answers.temperature import apply_temperature
from api.http.app_context import AskedPrediction
from predict.images import OpenedFiles, read_pixels
from predict.model import ServedModel
from predict.work import Pieces

UNCERTAIN = "uncertain"
# How many probabilities are turned into JSON in one piece of work.
PROBABILITIES_AT_ONCE = 10_000


def answer_files(opened: OpenedFiles, model: ServedModel, asked: AskedPrediction) -> Pieces[bytes]:
    """Build the JSON of `heldout.views.results.PredictionsView`. Raises what `read_pixels` and the model raise."""
    stored, names = yield from read_pixels(opened, model)
    probabilities = yield from model.answer(stored, stored)
    temperature = model.facts.temperature if asked.calibrated else None
    facts = {
        "object": "predictions",
        "job_id": model.facts.job_id,
        "weights_sha256": model.weights_sha256,
        "temperature": temperature,
        "threshold": asked.threshold,
    }
    written: list[bytes] = []
    images = max(1, PROBABILITIES_AT_ONCE // len(model.classes))
    for first in range(0, len(probabilities), images):
        yield
        some: Any = probabilities[first : first + images]
        if temperature is not None:
            some = soften(some, temperature)
        answers = describe(some, model.classes, names[first : first + images], asked)
        written.append(to_json(answers)[1:-1])
    return b'%s,"predictions":[%s]}' % (to_json(facts)[:-1], b",".join(written))


def soften(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Compute the (images, classes) probabilities of the same logits divided by `temperature`."""
    smallest = np.finfo(np.float32).tiny
    return np.exp(apply_temperature(np.log(np.maximum(probabilities, smallest).astype(np.float64)), temperature))


def describe(
    probabilities: NDArray[np.float32] | NDArray[np.float64],
    classes: tuple[str, ...],
    names: list[str | None],
    asked: AskedPrediction,
) -> list[dict[str, Any]]:
    """Build each image's `heldout.views.results.PredictionView` as plain values."""
    surest = np.argsort(-probabilities, axis=1, kind="stable")[:, : asked.top_k]
    found = []
    for name, places, image_probabilities in zip(names, surest.tolist(), probabilities.tolist(), strict=True):
        top = [{"label": classes[place], "index": place, "probability": image_probabilities[place]} for place in places]
        highest = image_probabilities[places[0]]
        uncertain = asked.threshold is not None and highest < asked.threshold
        answer = UNCERTAIN if uncertain else classes[places[0]]
        found.append({"name": name, "answer": answer, "uncertain": uncertain, "probability": highest, "top": top})
    return found
