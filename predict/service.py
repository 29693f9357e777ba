"""Answers requests for predictions in one process: finds the model, waits for memory, runs it, and names classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from analysis.answers.temperature import apply_temperature
from api.disconnects import DisconnectWatcher
from api.http.app_context import AppContext, AskedPrediction, TtlCache
from api.http.context import get_current_context
from api.turns import Turns
from heldout.errors import JobNotFound, NoTemperature, OwnerSuspended, PredictionsUnavailable
from heldout.service.settings import Settings
from models.blobs import Blobs
from models.database import Database
from models.ids import is_id
from models.store import jobs, owners
from predict import metrics
from predict.bodies import HeldBodies, read_files
from predict.cache import ModelCache
from predict.images import OpenedFiles, is_small, open_files, read_pixels
from predict.model import ServedModel
from predict.work import Pieces, Result, Room, WorkThreads, finish_pieces
from worker.machine.cores import count_cores
from worker.machine.memory import get_memory_bytes

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
            some = calibrate_probabilities(some, temperature)
        answers = describe(some, model.classes, names[first : first + images], asked)
        written.append(to_json(answers)[1:-1])
    return b'%s,"predictions":[%s]}' % (to_json(facts)[:-1], b",".join(written))


def calibrate_probabilities(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
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


# A quarter of a process's memory is for bodies, but at most this much. A third is for answers.
MAX_BODIES_BYTES = 512 * 1024**2
# A file of more pixels is decoded in a thread.
SHORT_PIXELS = 65_536


class PredictionService:
    """The state that all requests of one process share.

    large_json: turns for reading large JSON. forms: turns for reading pieces of forms.
    """

    is_here = True

    def __init__(self, settings: Settings, database: Database, blobs: Blobs) -> None:
        threads = max(1, count_cores() // settings.predict_processes)
        memory = get_memory_bytes() // settings.predict_processes
        self.work = WorkThreads(threads)
        self.bodies = HeldBodies(settings.max_predict_bytes, min(MAX_BODIES_BYTES, memory // 4))
        self.large_json, self.forms = Turns(1), Turns(1)
        self._room = Room(memory // 3)
        self.models = ModelCache(database, blobs, settings, threads)
        self._database = database
        # Owners that are not suspended, with their jobs. Entries expire within a second, so that suspended owners and
        # deleted jobs are refused soon.
        self._admitted: TtlCache[tuple[str, str], bool] = TtlCache()

    async def predict(self, request: Request, job_id: str, asked: AskedPrediction) -> Response:
        model = await self.get_model(job_id, asked.wait_s)
        if asked.calibrated and model.facts.temperature is None:
            raise model.facts.temperature_lost or NoTemperature(job_id)
        owner = model.facts.owner
        async with self.bodies.received(request, owner) as body:
            files = await read_files(request, body, self.forms, owner)
            is_short = len(files) == 1 and is_small(files[0])
            with DisconnectWatcher(request.receive) as departure:
                opened = await self.work.run(
                    owner, open_files(files, model), is_short=is_short, before_each=departure.require_client
                )
                is_short = is_short and opened.pixels <= SHORT_PIXELS and model.is_short(opened.images)
                needed = opened.memory_bytes + model.estimate_answer_bytes(opened.images)
                pieces = answer_files(opened, model, asked)
                content = await self.run_pieces(model, pieces, needed, departure, is_short=is_short)
        metrics.IMAGES.inc(opened.images)
        return Response(content, media_type="application/json")

    async def pass_on(self, request: Request) -> Response:
        raise PredictionsUnavailable("This process answers requests itself.")

    async def get_model(self, job_id: str, wait_s: float) -> ServedModel:
        """Return the model of the caller's job. Raises OwnerSuspended, JobNotFound and what `ModelCache.get` raises."""
        caller = get_current_context().caller
        admitted = caller.owner, job_id
        if self._admitted.get(admitted) is None:
            await run_in_threadpool(self._require_job, *admitted)
            self._admitted.keep(admitted, True)
        return await self.models.get(caller, job_id, wait_s=wait_s)

    async def run_pieces(
        self,
        model: ServedModel,
        pieces: Pieces[Result],
        memory_bytes: int,
        departure: DisconnectWatcher,
        *,
        is_short: bool,
    ) -> Result:
        """Run `pieces`, which use the model, and return their result. Unless they are short, wait for memory first.

        Raises: what `pieces`, `Room.taken` and `HeldOutImages.be_ready` raise. ClientDisconnect between two turns.
        """
        if is_short:
            return finish_pieces(pieces)
        owner = model.facts.owner
        await model.held_out.be_ready(lambda read: self.work.read(owner, read()))
        async with self._room.taken(memory_bytes, owner):
            return await self.work.run(owner, pieces, is_short=False, before_each=departure.require_client)

    async def close(self) -> None:
        self.work.close()

    def _require_job(self, owner: str, job_id: str) -> None:
        with self._database.read() as session:
            if owners.is_suspended(session, owner):
                raise OwnerSuspended(owner)
            if not is_id("job", job_id):
                raise JobNotFound(job_id[:80])
            jobs.find(session, owner, job_id)


def get_service(context: AppContext) -> PredictionService:
    """Return the service of this process."""
    assert isinstance(context.predictions, PredictionService)
    return context.predictions
