"""How much memory requests may take at once: each waits until there is room for what it needs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from heldout.errors import PredictionsUnavailable

MAX_WAIT_S = 30.0


class Room:
    """Memory of one process that answers share. Who came first is admitted first."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def taken(self, size_bytes: int) -> AsyncIterator[None]:
        """Room for so much, until the block ends; what needs more than there is has all of it for itself.

        Raises:
            PredictionsUnavailable: others did not make room in time.
        """
        size_bytes = min(size_bytes, self._limit_bytes)
        try:
            async with asyncio.timeout(MAX_WAIT_S), self._turn:
                while self._taken_bytes + size_bytes > self._limit_bytes:
                    self._freed.clear()
                    await self._freed.wait()
                self._taken_bytes += size_bytes
        except TimeoutError:
            raise PredictionsUnavailable("Other requests take all the memory that there is for answers.") from None
        try:
            yield
        finally:
            self._taken_bytes -= size_bytes
            self._freed.set()
