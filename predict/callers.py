"""Who asks for which model: keys and jobs are looked up as the API does it, and remembered for a second.

A key that was revoked, an owner who was suspended and a job that was deleted are refused within that second.
"""

import time
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.http.rates import Rates
from heldout.errors import InsufficientScope, JobNotFound, OwnerSuspended, Unauthenticated
from models.database import Database
from models.key_uses import KeyUses
from models.store import callers, jobs, owners
from models.store.keys import Caller

REMEMBERED_S = 1.0
MAX_REMEMBERED = 10_000
BEARER = "bearer "


@dataclass(frozen=True)
class _Known:
    caller: Caller
    until: float


class Callers:
    """The callers of one process."""

    def __init__(self, database: Database, rates: Rates) -> None:
        self._database = database
        self._rates = rates
        self._uses = KeyUses()
        self._known: dict[tuple[str, str], _Known] = {}

    async def caller_of(self, request: Request, job_id: str) -> tuple[Caller, dict[str, str]]:
        """Whose key a request bears, if that owner has the job; and headers that tell how often it may still ask.

        Args: job_id may be empty, for what belongs to no job.
        Raises:
            Unauthenticated, InsufficientScope, OwnerSuspended, TooManyRequests, JobNotFound, DatabaseUnavailable.
        """
        key = _key_of(request)
        known = self._known.get((key, job_id))
        if known is None or known.until < time.monotonic():
            try:
                caller = await run_in_threadpool(self._looked_up, key, job_id)
            except (JobNotFound, OwnerSuspended):
                await self._rates.count(key)
                raise
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            known = self._known[key, job_id] = _Known(caller, time.monotonic() + REMEMBERED_S)
        counted = await self._rates.count(key)
        return known.caller, dict(counted)

    def write_uses(self) -> None:
        """Write when keys were last used. Raises DatabaseUnavailable."""
        self._uses.write(self._database)

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
            if job_id:
                jobs.find(session, caller.owner, job_id)
        return caller


def _key_of(request: Request) -> str:
    """The key, or a browser's session that the API passes on. Raises Unauthenticated if it has neither's form."""
    header = request.headers.get("authorization", "")
    key = header[len(BEARER) :].strip() if header[: len(BEARER)].lower() == BEARER else ""
    if not callers.is_well_formed(key):
        raise Unauthenticated
    return key
