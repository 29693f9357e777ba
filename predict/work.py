"""Runs the decoding of images and the networks: short work in the event loop, the rest in threads.

Work is a generator that yields between pieces, and owners take turns. So an owner with little work waits only for a
piece or two of an owner with much work.
"""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

from api.turns import Turns

Result = TypeVar("Result")
Pieces = Generator[None, None, Result]
# A turn ends after the piece that is running at this time.
TURN_S = 0.02


class WorkThreads:
    """The threads of one process. Separate threads load models and read test images, while requests are answered."""

    def __init__(self, threads: int) -> None:
        # One thread more than an owner may use, because a piece may be an image that takes a second to decode.
        self._answering = _Threads(threads + 1, threads, "predict")
        self._loading = _Threads(2, 1, "load")
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

    async def load(self, owner: str, work: Callable[[], Result]) -> Result:
        """Run the work in one piece and return its result."""
        return await self._loading.run(owner, _do_in_one_piece(work), lambda: None)

    async def read(self, owner: str, pieces: Pieces[Result]) -> Result:
        """Run the pieces and return their result. This may take minutes."""
        return await self._reading.run(owner, pieces, lambda: None)

    def close(self) -> None:
        for threads in (self._answering, self._loading, self._reading):
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


def _do_in_one_piece(work: Callable[[], Result]) -> Pieces[Result]:
    return work()
    yield
