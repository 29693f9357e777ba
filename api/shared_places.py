"""Places for open uploads and streams, counted in the database across all API processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from heldout.access.quotas import Quota
from heldout.errors import DatabaseUnavailable, QuotaExceeded
from models.database import Database
from models.store import places
from models.store.places import SharedPlace

RENEW_EVERY_S = places.LEASE_S / 3
# When a client without a place may retry. The end of an upload or stream cannot be predicted.
RETRY_AFTER_S = 5
# Writers of an SQLite file wait for each other, so more threads would only be unavailable to other requests.
TAKEN_AT_ONCE = 2


class SharedPlaces:
    """The places that this process holds. Used in one event loop; `run` renews the places."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, SharedPlace] = {}
        self._ended: list[SharedPlace] = []
        self._takers = CapacityLimiter(TAKEN_AT_ONCE)
        # A renewal restores lost places, so it must not run while one of its places is given back.
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def taken(self, quota: Quota, owner: str) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        Raises:
            QuotaExceeded, DatabaseUnavailable.
            OwnerSuspended: for an upload.
        """
        place = await run_sync(self._take, quota, owner, limiter=self._takers)
        self._held[place.id] = place
        try:
            yield
        finally:
            del self._held[place.id]
            await self._give_back(place)

    async def run(self) -> None:
        """Renew the places of this process until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            async with self._writing:
                if self._held:
                    with suppress(DatabaseUnavailable):  # places are renewed once it is back
                        await run_sync(self._renew, list(self._held.values()))

    async def _give_back(self, place: SharedPlace) -> None:
        """Give back in batches, because a service that stops ends all its streams at once."""
        self._ended.append(place)
        async with self._writing:
            ended, self._ended = self._ended, []
            if ended:
                with suppress(DatabaseUnavailable):  # without renewal, they expire
                    await run_sync(self._delete, ended)

    def _take(self, quota: Quota, owner: str) -> SharedPlace:
        try:
            with self._database.write() as session:
                return places.take(session, quota, owner)
        except QuotaExceeded as error:
            error.headers["Retry-After"] = str(RETRY_AFTER_S)
            raise

    def _renew(self, held: list[SharedPlace]) -> None:
        with self._database.write() as session:
            places.renew(session, held)

    def _delete(self, ended: list[SharedPlace]) -> None:
        with self._database.write() as session:
            places.give_back(session, ended)
