"""One poller a process behind every waiting client: a wait costs no thread and no database connection."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from heldout.errors import HeldoutError

log = structlog.get_logger("heldout.api")

# A job's version, whether it has ended, and the number of its last event; as models.store.jobs.versions gives them.
Seen = tuple[int, bool, int]


@dataclass(eq=False)
class _Waiter:
    job_id: str
    enough: Callable[[Seen], bool]
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """Looks up all awaited jobs in one query every `poll_s`, while anyone waits.

    Args:
        look_up: gives what is known of these job ids; a job that is gone is absent. Called in a thread.
    """

    def __init__(self, look_up: Callable[[Collection[str]], Mapping[str, Seen]], poll_s: float) -> None:
        self._look_up = look_up
        self._poll_s = poll_s
        self._waiters: set[_Waiter] = set()
        self._awaited = asyncio.Event()
        self._stopped = False

    async def wait(self, job_id: str, enough: Callable[[Seen], bool], timeout_s: float) -> None:
        """Return when `enough` holds for the job or it is gone, when the time is over, or when the service stops."""
        waiter = _Waiter(job_id, enough)
        if self._stopped:
            return
        self._waiters.add(waiter)
        self._awaited.set()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(waiter.woken.wait(), timeout_s)
        finally:
            self._waiters.discard(waiter)

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self._awaited.wait()
            if self._waiters:
                await self._look()
                await asyncio.sleep(self._poll_s)
            else:
                self._awaited.clear()

    def stop(self) -> None:
        """Send everyone who waits home with what is known, now and from now on."""
        self._stopped = True
        for waiter in self._waiters:
            waiter.woken.set()

    async def _look(self) -> None:
        ids = {waiter.job_id for waiter in self._waiters}
        try:
            seen = await asyncio.to_thread(self._look_up, ids)
        except HeldoutError as error:
            # Who waits, waits on: the database may be back before their time is over.
            log.warning("waiting clients could not be served", reason=error.detail)
            return
        except Exception:
            log.exception("the poller broke")
            return
        for waiter in self._waiters:
            if waiter.job_id not in ids:
                continue  # came while we looked
            found = seen.get(waiter.job_id)
            if found is None or waiter.enough(found):
                waiter.woken.set()
