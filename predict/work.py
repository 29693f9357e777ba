"""Runs the decoding of images and the networks, within memory: short work in the event loop, the rest in threads.

Work is a generator that yields between pieces, and owners take turns. So an owner with little work waits only for a
piece or two of an owner with much work.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TypeVar

from api.turns import Turns
from heldout.errors import PredictionsUnavailable

Result = TypeVar("Result")
Pieces = Generator[None, None, Result]
# A turn ends after the piece that is running at this time.
TURN_S = 0.02


class WorkThreads:
    """The threads of one process. Separate threads read test images, while requests are answered."""

    def __init__(self, threads: int) -> None:
        # One thread more than an owner may use, because a piece may be an image that takes a second to decode.
        self._answering = _Threads(threads + 1, threads, "predict")
        self._reading = _Threads(2, 1, "read")

    async def run(
        self, owner: str, pieces: Pieces[Result], *, is_short: bool, before_each: Callable[[], None] = lambda: None
    ) -> Result:
        """Run the pieces and return their result. Short work runs immediately, which is faster than using a thread.

        Args:
            before_each: called before each turn. An exception from it ends the work.
        """
        if is_short:
            return finish_pieces(pieces)
        return await self._answering.run(owner, pieces, before_each)

    async def read(self, owner: str, pieces: Pieces[Result]) -> Result:
        """Run the pieces and return their result. This may take minutes."""
        return await self._reading.run(owner, pieces, lambda: None)

    def close(self) -> None:
        for threads in (self._answering, self._reading):
            threads.close()


class _Threads:
    """Threads that owners use in turn."""

    def __init__(self, count: int, per_owner: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._turns = Turns(count, per_group=per_owner)

    async def run(self, owner: str, pieces: Pieces[Result], before_each: Callable[[], None]) -> Result:
        async with self._turns.taken(owner) as turn:
            while True:
                before_each()
                ended = await asyncio.get_running_loop().run_in_executor(self._pool, _take_turn, pieces)
                if ended is not None:
                    return ended[0]
                await turn.give_way()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def finish_pieces(pieces: Pieces[Result]) -> Result:
    """Run all pieces and return the result."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: Result = end.value
            return result


def _take_turn(pieces: Pieces[Result]) -> tuple[Result] | None:
    """Run pieces for one turn. Returns the result in a tuple after the last piece, or else None."""
    ends = perf_counter() + TURN_S
    try:
        next(pieces)
        while perf_counter() < ends:
            next(pieces)
    except StopIteration as end:
        return (end.value,)
    return None


MAX_WAIT_S = 30.0


class Room:
    """The memory that all answers of one process share. One owner gets at most half of it.

    Owners take turns. The requests of one owner are admitted in order.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._most_bytes = limit_bytes // 2
        self._turns = Turns(limit_bytes, per_group=self._most_bytes)

    @asynccontextmanager
    async def taken(self, size_bytes: int, owner: str) -> AsyncIterator[None]:
        """Wait for this much room, and keep it until the block ends. The limit is what one owner may have.

        Raises:
            PredictionsUnavailable: if there was no room in time.
        """
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                turn = await self._turns.take(owner, min(size_bytes, self._most_bytes))
        except TimeoutError:
            raise PredictionsUnavailable("Other requests use all the memory for answers.") from None
        try:
            yield
        finally:
            turn.end()
