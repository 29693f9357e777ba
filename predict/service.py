"""What all routes of one process share, and what a request for predictions goes through before its own route."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from heldout.errors import JobNotFound
from models.ids import is_id
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

    async def answered(
        self, model: ServedModel, work: Callable[[], Result], memory_bytes: int, *, is_short: bool
    ) -> Result:
        """What `work` says, which asks the model; it waits for the memory that it needs, unless it is short.

        Raises: what `work`, `Room.taken` and `HeldOutImages.be_ready` do.
        """
        if is_short:
            return work()
        await model.held_out.be_ready(self.work.read)
        async with self.room.taken(memory_bytes):
            return await self.work.run(work, is_short=False)
