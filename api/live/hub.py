"""One poller per process serves all waiting clients, so a wait or stream needs no thread or database connection.

Streams that need the same events of a channel share one read.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic

import structlog

from api.live.source import Channel, ChannelKind, ChannelState, DatabaseSource, EncodedEvent
from heldout.errors import HeldoutError

log = structlog.get_logger("heldout.api")

# How many reads of events may run at a time.
READS_AT_ONCE = 2

Read = asyncio.Task[Sequence[EncodedEvent] | None]


@dataclass(eq=False)
class Followed:
    """A channel that clients wait for, as the last poll has seen it.

    state: None before the first poll. last: the number of its last event. reads: the running reads, by the numbers of
    the last events that the streams have and that the channel has.
    """

    channel: Channel
    state: ChannelState | None = None
    last: int = 0
    is_gone: bool = False
    clients: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # set and replaced by a new one at every change
    reads: dict[tuple[int, int], Read] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether the job or study has ended, so there are no events after `last`."""
        return self.state is not None and self.state.has_ended

    def note(self, state: ChannelState | None) -> None:
        """Note what a poll has seen. None: the job or study is gone."""
        if state is None:
            self.is_gone = True
        elif state == self.state:
            return
        else:
            self.state, self.last = state, max(self.last, state.last_event)
        self.wake_clients()

    def wake_clients(self) -> None:
        """Let every client check for changes."""
        self.changed.set()
        self.changed = asyncio.Event()


class Hub:
    """Polls all channels that clients wait for in one query every `poll_s`.

    Each kind of channel has its own loop: numbering the events of owners writes to the database, which must not delay
    clients that wait for jobs.
    """

    def __init__(self, source: DatabaseSource, poll_s: float) -> None:
        self._source = source
        self.poll_s = poll_s
        # A stream that has sent nothing for this long sends a comment to show that it is alive.
        self.ping_s = 15.0
        self.keys_every_s = 5.0  # how often to check for revoked keys
        self.stopped = False
        self.revoked: frozenset[str] = frozenset()
        self._followed: dict[Channel, Followed] = {}
        self._keys: Counter[str] = Counter()  # open streams by key
        self._keys_checked_at = 0.0
        self._needed: dict[ChannelKind, asyncio.Event] = {kind: asyncio.Event() for kind in ChannelKind}
        self._reading = asyncio.Semaphore(READS_AT_ONCE)

    @property
    def streams(self) -> int:
        """The number of open streams."""
        return self._keys.total()

    async def wait(self, channel: Channel, is_enough: Callable[[ChannelState], bool], timeout_s: float) -> None:
        """Return once `is_enough` holds for a job or study, it is deleted, the time is up, or the service stops.

        The first state that `is_enough` gets may be slightly older than this call.
        """
        with suppress(TimeoutError), self._follow(channel) as followed:
            async with asyncio.timeout(timeout_s):
                while not (self.stopped or followed.is_gone):
                    if followed.state is not None and is_enough(followed.state):
                        return
                    await followed.changed.wait()

    async def wait_for_end(self, job_id: str, timeout_s: float) -> None:
        """Return once a job has ended, or as `wait` does."""
        await self.wait(Channel(ChannelKind.JOB, job_id), lambda state: state.has_ended, timeout_s)

    @contextmanager
    def stream(self, channel: Channel, last: int, key_id: str) -> Iterator[Followed]:
        """Follow a channel whose last event was `last` a moment ago, and check the key until the block ends."""
        self._keys[key_id] += 1
        try:
            with self._follow(channel) as followed:
                followed.last = max(followed.last, last)
                yield followed
        finally:
            self._keys[key_id] -= 1
            if not self._keys[key_id]:
                del self._keys[key_id]

    @contextmanager
    def _follow(self, channel: Channel) -> Iterator[Followed]:
        """Poll a channel while the block runs."""
        followed = self._followed.setdefault(channel, Followed(channel))
        followed.clients += 1
        self._needed[channel.kind].set()
        try:
            yield followed
        finally:
            followed.clients -= 1
            if not followed.clients:
                del self._followed[channel]

    async def read(self, followed: Followed, cursor: int) -> Sequence[EncodedEvent] | None:
        """Read the next events above `cursor`. Empty if all were deleted; None if the database does not answer."""
        between = cursor, followed.last
        read = followed.reads.get(between)
        if read is None:
            read = followed.reads[between] = asyncio.create_task(self._read(followed.channel, cursor))
            read.add_done_callback(lambda _: followed.reads.pop(between))
        return await asyncio.shield(read)

    async def _read(self, channel: Channel, cursor: int) -> Sequence[EncodedEvent] | None:
        async with self._reading:
            try:
                return await asyncio.to_thread(self._source.page, channel, cursor)
            except HeldoutError as error:
                log.warning("stream_not_caught_up", reason=error.detail)
                return None

    async def run(self) -> None:
        """Poll until cancelled."""
        async with asyncio.TaskGroup() as loops:
            for kind in self._needed:
                loops.create_task(self._poll(kind))

    def stop(self) -> None:
        """Wake all waiting clients, and refuse to wait from now on."""
        self.stopped = True
        for followed in self._followed.values():
            followed.wake_clients()

    async def _poll(self, kind: ChannelKind) -> None:
        while True:
            await self._needed[kind].wait()
            followed = [followed for channel, followed in self._followed.items() if channel.kind is kind]
            if followed:
                await self._poll_once(followed)
                await asyncio.sleep(self.poll_s)
            else:
                self._needed[kind].clear()

    async def _poll_once(self, polled: Collection[Followed]) -> None:
        try:
            states = await asyncio.to_thread(self._source.states, [followed.channel for followed in polled])
            for followed in polled:
                followed.note(states.get(followed.channel))
            await self._check_keys()
        except HeldoutError as error:
            # Clients keep waiting: the database may be back before their time is up.
            log.warning("waiting_clients_not_served", reason=error.detail)
        except Exception:
            log.exception("poller_failed")

    async def _check_keys(self) -> None:
        if not self._keys or monotonic() - self._keys_checked_at < self.keys_every_s:
            return
        self._keys_checked_at = monotonic()
        self.revoked = frozenset(await asyncio.to_thread(self._source.revoked, set(self._keys)))
        if self.revoked:
            for followed in self._followed.values():
                followed.wake_clients()
