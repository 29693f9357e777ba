"""What all routes of one process share, and what a request for predictions goes through before its own route."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from heldout.errors import JobNotFound
from models.ids import is_id
from predict.bodies import HeldBodies
from predict.cache import ModelCache
from predict.callers import Callers
from predict.images import Pixels
from predict.model import ServedModel
from predict.work import Work

DEFAULT_WAIT_S = 30.0


@dataclass
class Service:
    """Made once by `create_app`, and kept as `app.state.service`. asked_at: when the last request came, monotonic."""

    callers: Callers
    models: ModelCache
    bodies: HeldBodies
    work: Work
    asked_at: float = 0.0

    async def model_for(
        self, request: Request, job_id: str, wait_s: float = DEFAULT_WAIT_S
    ) -> tuple[ServedModel, dict[str, str]]:
        """The model that a request asks, and headers of its answer. The key is looked at first.

        Raises: what `Callers.caller_of` and `ModelCache.get` do.
        """
        well_formed = is_id("job", job_id)
        caller, headers = await self.callers.caller_of(request, job_id if well_formed else "")
        if not well_formed:
            raise JobNotFound(job_id[:80])
        model = self.models.loaded(job_id)
        return model or await self.models.get(caller, job_id, wait_s=wait_s), headers


def answer(model: ServedModel, stored: Pixels, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probabilities; test images are counted before anyone hears of them.

    Args:
        stored: the images as the dataset would store them.
    """
    began = time.perf_counter()
    probabilities = model.probabilities(pixels)
    model.note_pace((time.perf_counter() - began) / len(pixels))
    model.held_out.count(stored)
    return probabilities
