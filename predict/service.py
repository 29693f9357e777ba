"""What all routes of one process share, and what a request for predictions goes through before its own route."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from api.departure import Departure
from models.store.keys import Caller
from predict.bodies import HeldBodies
from predict.cache import ModelCache
from predict.callers import Callers
from predict.model import ServedModel
from predict.room import Room
from predict.work import Result, Work

DEFAULT_WAIT_S = 30.0


@dataclass
class Service:
    """Made once by `create_app`, and kept as `app.state.service`.

    room: memory for answers. large_json: whose turn it is to read much JSON. asked_at: when the last request came,
    monotonic.
    """

    callers: Callers
    models: ModelCache
    bodies: HeldBodies
    work: Work
    room: Room
    large_json: asyncio.Lock = field(default_factory=asyncio.Lock)
    asked_at: float = 0.0

    async def model_for(self, caller: Caller, job_id: str, wait_s: float = DEFAULT_WAIT_S) -> ServedModel:
        """The model of the caller's job. Raises: what `ModelCache.get` does."""
        return self.models.loaded(job_id) or await self.models.get(caller, job_id, wait_s=wait_s)

    async def answered(
        self, model: ServedModel, work: Callable[[], Result], memory_bytes: int, departure: Departure, *, is_short: bool
    ) -> Result:
        """What `work` says, which asks the model; it waits for the memory that it needs, unless it is short.

        Raises: what `work`, `Room.taken` and `HeldOutImages.be_ready` do; ClientLeft before it begins.
        """
        if is_short:
            return work()
        await model.held_out.be_ready(self.work.read)
        async with self.room.taken(memory_bytes):
            departure.require_client()
            return await self.work.run(work, is_short=False)
