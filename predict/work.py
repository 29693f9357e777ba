"""Where images are decoded and networks computed: in the event loop what takes no time, the rest in threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Work:
    """The threads of one process."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")

    async def run(self, work: Callable[[], Result], *, is_short: bool) -> Result:
        """The result; what is short is done at once, for less than handing it to a thread takes."""
        if is_short:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
