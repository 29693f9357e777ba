"""What all routes of one process share, and what a request for predictions goes through before its own route."""

from dataclasses import dataclass, field

from api.departure import Departure
from api.turns import Turns
from models.store.keys import Caller
from predict.bodies import HeldBodies
from predict.cache import ModelCache
from predict.callers import Callers
from predict.model import ServedModel
from predict.room import Room
from predict.work import Pieces, Result, Work, finished

DEFAULT_WAIT_S = 30.0


@dataclass
class Service:
    """Made once by `create_app`, and kept as `app.state.service`.

    room: memory for answers. large_json: whose turn it is to read much JSON. forms: whose turn it is to read a piece of
    a form. asked_at: when the last request came, monotonic.
    """

    callers: Callers
    models: ModelCache
    bodies: HeldBodies
    work: Work
    room: Room
    large_json: Turns = field(default_factory=lambda: Turns(1))
    forms: Turns = field(default_factory=lambda: Turns(1))
    asked_at: float = 0.0

    async def model_for(self, caller: Caller, job_id: str, wait_s: float = DEFAULT_WAIT_S) -> ServedModel:
        """The model of the caller's job. Raises: what `ModelCache.get` does."""
        return self.models.loaded(job_id) or await self.models.get(caller, job_id, wait_s=wait_s)

    async def answered(
        self, model: ServedModel, pieces: Pieces[Result], memory_bytes: int, departure: Departure, *, is_short: bool
    ) -> Result:
        """The result of `pieces`, which ask the model; they wait for the memory that they need, unless they are short.

        Raises: what `pieces`, `Room.taken` and `HeldOutImages.be_ready` do; ClientLeft between two turns.
        """
        if is_short:
            return finished(pieces)
        owner = model.facts.owner
        await model.held_out.be_ready(lambda read: self.work.read(owner, read()))
        async with self.room.taken(memory_bytes, owner):
            return await self.work.run(owner, pieces, is_short=False, before_each=departure.require_client)
