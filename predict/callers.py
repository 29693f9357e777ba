"""Who asks for which model: keys and jobs are looked up as the API does it, and remembered for a second.

A key that was revoked, an owner who was suspended and a job that was deleted are refused within that second.
"""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.http.rates import Rates
from api.remembered import Remembered
from heldout.errors import InsufficientScope, JobNotFound, OwnerSuspended, Unauthenticated
from models.database import Database
from models.ids import is_id
from models.key_uses import KeyUses
from models.store import callers, jobs, owners
from models.store.keys import Caller

BEARER = "bearer "


class Callers:
    """The callers of one process."""

    def __init__(self, database: Database, rates: Rates) -> None:
        self._database = database
        self._rates = rates
        self._uses = KeyUses()
        self._known: Remembered[tuple[str, str], Caller] = Remembered()

    async def caller_of(self, request: Request, job_id: str) -> Caller:
        """Whose key a request bears, if that owner has the job.

        How often the key may still ask is put into `request.state.counted`, as headers of the answer.

        Raises:
            Unauthenticated, InsufficientScope, OwnerSuspended, TooManyRequests, JobNotFound, DatabaseUnavailable.
        """
        key = _key_of(request)
        try:
            caller = await self._known_or_looked_up(key, job_id)
        except (JobNotFound, OwnerSuspended):
            request.state.counted = await self._rates.count(key)
            raise
        request.state.counted = await self._rates.count(key)
        return caller

    def write_uses(self) -> None:
        """Write when keys were last used. Raises DatabaseUnavailable."""
        self._uses.write(self._database)

    async def _known_or_looked_up(self, key: str, job_id: str) -> Caller:
        known = self._known.get((key, job_id))
        return known or self._known.keep((key, job_id), await run_in_threadpool(self._looked_up, key, job_id))

    def _looked_up(self, key: str, job_id: str) -> Caller:
        with self._database.read() as session:
            caller = callers.caller_of(session, key)
            if caller is None:
                raise Unauthenticated
            if "read" not in caller.scopes:
                raise InsufficientScope("read", caller.scopes)
            self._uses.note(caller.key_id)
            if owners.is_suspended(session, caller.owner):
                raise OwnerSuspended(caller.owner)
            if not is_id("job", job_id):
                raise JobNotFound(job_id[:80])
            jobs.find(session, caller.owner, job_id)
        return caller


def _key_of(request: Request) -> str:
    """The key, or a browser's session that the API passes on. Raises Unauthenticated if it has neither's form."""
    header = request.headers.get("authorization", "")
    key = header[len(BEARER) :].strip() if header[: len(BEARER)].lower() == BEARER else ""
    if not callers.is_well_formed(key):
        raise Unauthenticated
    return key
