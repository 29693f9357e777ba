"""Probabilities as a client reads them: the classes by their names, the surest first, or «uncertain»."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.answers.temperature import at_temperature

UNCERTAIN = "uncertain"


def softened(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """(images, classes) probabilities of the same logits divided by `temperature`."""
    smallest = np.finfo(np.float32).tiny
    return np.exp(at_temperature(np.log(np.maximum(probabilities, smallest).astype(np.float64)), temperature))


def answers_of(
    probabilities: NDArray[np.float32] | NDArray[np.float64],
    classes: tuple[str, ...],
    names: list[str | None],
    *,
    top_k: int,
    threshold: float | None,
) -> list[dict[str, Any]]:
    """For each image what `heldout.views.prediction.PredictionView` has, as plain values."""
    surest = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    chances = np.take_along_axis(probabilities, surest, axis=1).tolist()
    found = []
    for name, places, values in zip(names, surest.tolist(), chances, strict=True):
        top = [
            {"label": classes[place], "index": place, "probability": value}
            for place, value in zip(places, values, strict=True)
        ]
        uncertain = threshold is not None and values[0] < threshold
        answer = UNCERTAIN if uncertain else top[0]["label"]
        found.append({"name": name, "answer": answer, "uncertain": uncertain, "probability": values[0], "top": top})
    return found
