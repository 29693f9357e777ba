"""One poller a process behind every waiting client: waits and streams cost no thread and no database connection."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

import structlog

from api.live.feeds import Feed, Wire
from heldout.errors import HeldoutError

log = structlog.get_logger("heldout.api")

# A job's version, whether it has ended, and the number of its last event; as models.store.jobs.versions gives them.
Seen = tuple[int, bool, int]

# Streams of a key that was revoked end within this.
REVOKED_EVERY_S = 5.0
# Streams that fell behind are caught up so many at a time.
CATCHING_UP = 2


class Source(Protocol):
    """What the hub asks the database; each call is made in a thread and may raise a HeldoutError."""

    def versions(self, job_ids: Collection[str]) -> Mapping[str, Seen]:
        """What is known of these jobs; one that is gone is absent."""

    def events_of(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Wire]]:
        """For each job its events above that number."""

    def page(self, job_id: str, after: int) -> Sequence[Wire]:
        """The first events of the job above that number."""

    def revoked(self, key_ids: Collection[str]) -> Collection[str]:
        """Which of these keys no longer open anything."""


@dataclass(eq=False)
class _Waiter:
    job_id: str
    enough: Callable[[Seen], bool]
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """Looks up all awaited jobs in one query every `poll_s`, while anyone waits, and their new events in one more."""

    def __init__(self, source: Source, poll_s: float) -> None:
        self._source = source
        self.poll_s = poll_s
        self.stopped = False
        self.revoked: frozenset[str] = frozenset()
        self._waiters: set[_Waiter] = set()
        self._feeds: dict[str, Feed] = {}
        self._keys: Counter[str] = Counter()
        self._keys_looked_up = 0.0
        self._awaited = asyncio.Event()
        self._catching_up = asyncio.Semaphore(CATCHING_UP)

    @property
    def streams(self) -> int:
        """How many are open."""
        return sum(feed.readers for feed in self._feeds.values())

    async def wait(self, job_id: str, enough: Callable[[Seen], bool], timeout_s: float) -> None:
        """Return when `enough` holds for the job or it is gone, when the time is over, or when the service stops."""
        waiter = _Waiter(job_id, enough)
        if self.stopped:
            return
        self._waiters.add(waiter)
        self._awaited.set()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(waiter.woken.wait(), timeout_s)
        finally:
            self._waiters.discard(waiter)

    def join(self, job_id: str, last: int, key_id: str) -> Feed:
        """The feed of a job whose last event was `last` a moment ago; whoever joins must leave."""
        feed = self._feeds.setdefault(job_id, Feed(job_id, last))
        feed.readers += 1
        self._keys[key_id] += 1
        self._awaited.set()
        return feed

    def leave(self, feed: Feed, key_id: str) -> None:
        """A feed that nobody reads is dropped."""
        feed.readers -= 1
        if not feed.readers:
            del self._feeds[feed.job_id]
        self._keys[key_id] -= 1
        if not self._keys[key_id]:
            del self._keys[key_id]

    async def catch_up(self, feed: Feed, cursor: int) -> Sequence[Wire] | None:
        """Events above `cursor` from the database; None if it does not answer."""
        async with self._catching_up:
            try:
                return await asyncio.to_thread(self._source.page, feed.job_id, cursor)
            except HeldoutError as error:
                log.warning("a stream could not be caught up", reason=error.detail)
                return None

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self._awaited.wait()
            if self._waiters or self._feeds:
                await self._look()
                await asyncio.sleep(self.poll_s)
            else:
                self._awaited.clear()

    def stop(self) -> None:
        """Send everyone who waits home with what is known, now and from now on."""
        self.stopped = True
        for waiter in self._waiters:
            waiter.woken.set()
        for feed in self._feeds.values():
            feed.wake()

    async def _look(self) -> None:
        ids = {waiter.job_id for waiter in self._waiters} | self._feeds.keys()
        try:
            seen = await asyncio.to_thread(self._source.versions, ids)
            await self._feed(ids, seen)
            await self._look_up_keys()
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

    async def _feed(self, ids: Collection[str], seen: Mapping[str, Seen]) -> None:
        feeds = [feed for feed in self._feeds.values() if feed.job_id in ids]
        after: dict[str, int] = {}
        for feed in feeds:
            if feed.job_id not in seen:
                feed.gone = True
                feed.wake()
                continue
            _, ended, last = seen[feed.job_id]
            if last > feed.last:
                after[feed.job_id] = feed.wanted_after(last)
            elif ended and not feed.ended:
                feed.put(last, (), ended=True)
        if not after:
            return
        found = await asyncio.to_thread(self._source.events_of, after)
        for feed in feeds:
            if feed.job_id in after:
                _, ended, last = seen[feed.job_id]
                feed.put(last, found.get(feed.job_id, ()), ended=ended)

    async def _look_up_keys(self) -> None:
        if not self._keys or monotonic() - self._keys_looked_up < REVOKED_EVERY_S:
            return
        self._keys_looked_up = monotonic()
        self.revoked = frozenset(await asyncio.to_thread(self._source.revoked, set(self._keys)))
        if self.revoked:
            for feed in self._feeds.values():
                feed.wake()
