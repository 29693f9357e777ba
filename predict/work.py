"""Where images are decoded and networks computed: in the event loop what takes no time, the rest in threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Work:
    """The threads of one process. One more each loads models and reads test images, while answers go on."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read")

    async def run(self, work: Callable[[], Result], *, is_short: bool) -> Result:
        """The result; what is short is done at once, for less than handing it to a thread takes."""
        if is_short:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def load(self, work: Callable[[], Result]) -> Result:
        """The result, one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._loader, work)

    async def read(self, work: Callable[[], Result]) -> Result:
        """The result, one after the other; each may take minutes."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)

    def close(self) -> None:
        for threads in (self._threads, self._loader, self._reader):
            threads.shutdown(wait=False, cancel_futures=True)
