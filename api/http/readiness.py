"""Whether the service can work: looked at every few seconds at most, however often it is asked."""

import asyncio
from collections.abc import Callable
from time import monotonic

from anyio import CapacityLimiter, to_thread

from heldout.errors import HeldoutError

# A look costs statements of the database, and a blob that is written, read and deleted.
LASTS_S = 2.0


class Readiness:
    """The last look, and the next one."""

    def __init__(self, look: Callable[[], None], lasts_s: float = LASTS_S) -> None:
        """`look` raises what is wrong; it may block."""
        self._look = look
        self._lasts_s = lasts_s
        self._looked_at = float("-inf")
        self._failure: HeldoutError | None = None
        self._looking = asyncio.Lock()
        # A thread of its own: those that answer requests may all be taken.
        self._thread = CapacityLimiter(1)

    async def require(self) -> None:
        """Raises what was wrong at the last look, which is a new one where that is too old."""
        if self._is_old():
            async with self._looking:
                if self._is_old():
                    await self._look_now()
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    def _is_old(self) -> bool:
        return monotonic() - self._looked_at > self._lasts_s

    async def _look_now(self) -> None:
        try:
            await to_thread.run_sync(self._look, limiter=self._thread)
            self._failure = None
        except HeldoutError as failure:
            self._failure = failure
        self._looked_at = monotonic()
