"""Limits the memory of requests: each waits until there is room for what it needs."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from heldout.errors import PredictionsUnavailable

MAX_WAIT_S = 30.0


class Room:
    """The memory that all answers of one process share. One owner gets at most half of it.

    Owners take turns. The requests of one owner are admitted in order.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken: Counter[str] = Counter()
        # The first owner has the next turn.
        self._waiting: OrderedDict[str, deque[tuple[int, asyncio.Future[None]]]] = OrderedDict()

    @asynccontextmanager
    async def taken(self, size_bytes: int, owner: str) -> AsyncIterator[None]:
        """Wait for this much room, and keep it until the block ends. The limit is what one owner may have.

        Raises:
            PredictionsUnavailable: if there was no room in time.
        """
        size_bytes = min(size_bytes, self._limit_bytes // 2)
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append((size_bytes, admitted))
        self._admit()
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                await asyncio.shield(admitted)
        except BaseException as error:
            if admitted.done():
                self._give_back(size_bytes, owner)
            admitted.cancel()
            self._admit()  # admits those behind it
            if isinstance(error, TimeoutError):
                raise PredictionsUnavailable("Other requests use all the memory for answers.") from None
            raise
        try:
            yield
        finally:
            self._give_back(size_bytes, owner)

    def _give_back(self, size_bytes: int, owner: str) -> None:
        self._taken[owner] -= size_bytes
        if not self._taken[owner]:
            del self._taken[owner]
        self._admit()

    def _admit(self) -> None:
        while self._admit_next():
            pass

    def _admit_next(self) -> bool:
        """Admit the next request that has room, with owners in turn. Returns whether there was one."""
        for owner, queue in list(self._waiting.items()):
            while queue and queue[0][1].done():  # it no longer waits
                queue.popleft()
            if not queue:
                del self._waiting[owner]
                continue
            size_bytes, admitted = queue[0]
            if self._taken[owner] + size_bytes > self._limit_bytes // 2:
                continue
            if self._taken.total() + size_bytes > self._limit_bytes:
                return False  # if others were admitted first, this one might wait forever
            queue.popleft()
            self._waiting.move_to_end(owner)
            self._taken[owner] += size_bytes
            admitted.set_result(None)
            return True
        return False
