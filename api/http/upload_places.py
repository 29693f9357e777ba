"""A place for each upload that comes now, counted by the database for all API processes together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.concurrency import run_in_threadpool

from heldout.errors import DatabaseUnavailable, QuotaExceeded
from heldout.quotas import Bounds
from models.database import Database
from models.store import upload_places

RENEW_EVERY_S = upload_places.LEASE_S / 3
# When a client may try again for which there was no place: nobody knows when an upload will end.
RETRY_AFTER_S = 5


class SharedPlaces:
    """The places of this process among those of all."""

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds

    @asynccontextmanager
    async def taken_by(self, owner: str) -> AsyncIterator[None]:
        """Take a place for as long as the block runs.

        Raises:
            QuotaExceeded, OwnerSuspended, DatabaseUnavailable.
        """
        place = await run_in_threadpool(self._take, owner)
        renewing = asyncio.create_task(self._keep(place))
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(DatabaseUnavailable):  # then it ends by itself
                await run_in_threadpool(self._give_back, place)

    async def _keep(self, place: str) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            with suppress(DatabaseUnavailable):
                await run_in_threadpool(self._renew, place)

    def _take(self, owner: str) -> str:
        try:
            with self._database.write() as session:
                return upload_places.take(session, owner, self._bounds)
        except QuotaExceeded as error:
            error.headers["Retry-After"] = str(RETRY_AFTER_S)
            raise

    def _renew(self, place: str) -> None:
        with self._database.write() as session:
            upload_places.renew(session, place)

    def _give_back(self, place: str) -> None:
        with self._database.write() as session:
            upload_places.give_back(session, place)
