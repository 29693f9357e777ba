"""One poller per process serves all waiting clients, so a wait or stream needs no thread or database connection.

The latest events of a channel are encoded once and shared by all its streams.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import structlog

from api.live.source import Channel, ChannelKind, ChannelState, DatabaseSource, EncodedEvent
from heldout.errors import HeldoutError

# Kept for the streams. A stream that is further behind catches up from the database.
KEPT_EVENTS = 64
KEPT_BYTES = 64 * 1024


class RecentEvents:
    """The events of a channel in memory: those with numbers above `floor`, up to `last`.

    Numbers may be missing, because events are deleted with their subject.
    """

    def __init__(self, channel: Channel, last: int) -> None:
        self.channel = channel
        self.floor = last
        self.last = last
        self.is_complete = False  # the job or study has ended, so there are no events after `last`
        self.is_gone = False
        self.streams = 0
        self.changed = asyncio.Event()  # set and replaced by a new one at every change
        self._events: deque[EncodedEvent] = deque()
        self.kept_bytes = 0

    def after(self, cursor: int) -> Sequence[EncodedEvent] | None:
        """The events above `cursor`. None if some of them are no longer in memory."""
        if cursor < self.floor:
            return None
        return [event for event in self._events if event.number > cursor] if cursor < self.last else []

    def add(self, last: int, events: Iterable[EncodedEvent], *, is_complete: bool) -> None:
        """Note that the channel's last event is `last`, and keep its events, read above `read_above(last)`."""
        if self.read_above(last) > self.last:
            self._events.clear()
            self.kept_bytes = 0
            self.floor = self.read_above(last)
        self.last = max(self.last, last)
        for event in events:
            self._events.append(event)
            self.kept_bytes += len(event.text)
            self.last = max(self.last, event.number)
        while len(self._events) > KEPT_EVENTS or (self.kept_bytes > KEPT_BYTES and len(self._events) > 1):
            dropped = self._events.popleft()
            self.kept_bytes -= len(dropped.text)
            self.floor = dropped.number
        self.is_complete = is_complete
        self.wake_streams()

    def read_above(self, last: int) -> int:
        """The number above which to read events when the channel's last one is `last`."""
        return max(self.last, last - KEPT_EVENTS)

    def wake_streams(self) -> None:
        """Let every stream check for changes."""
        self.changed.set()
        self.changed = asyncio.Event()


log = structlog.get_logger("heldout.api")

# How many streams may catch up from the database at a time.
CATCH_UPS_AT_ONCE = 2


@dataclass(eq=False)
class _Waiter:
    channel: Channel
    is_enough: Callable[[ChannelState], bool]
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """Polls all channels that clients wait for in one query every `poll_s`, and their new events in a second one.

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
        self._waiters: set[_Waiter] = set()
        self._followed: dict[Channel, RecentEvents] = {}
        self._keys: Counter[str] = Counter()
        self._keys_checked_at = 0.0
        self._needed: dict[ChannelKind, asyncio.Event] = {kind: asyncio.Event() for kind in ChannelKind}
        self._catching_up = asyncio.Semaphore(CATCH_UPS_AT_ONCE)

    @property
    def streams(self) -> int:
        """The number of open streams."""
        return sum(recent.streams for recent in self._followed.values())

    @property
    def kept_bytes(self) -> int:
        """The memory used by their events."""
        return sum(recent.kept_bytes for recent in self._followed.values())

    async def wait(self, channel: Channel, is_enough: Callable[[ChannelState], bool], timeout_s: float) -> None:
        """Return once `is_enough` holds for a job or study, it is deleted, the time is up, or the service stops."""
        waiter = _Waiter(channel, is_enough)
        if self.stopped:
            return
        self._waiters.add(waiter)
        self._needed[channel.kind].set()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(waiter.woken.wait(), timeout_s)
        finally:
            self._waiters.discard(waiter)

    async def wait_for_end(self, job_id: str, timeout_s: float) -> None:
        """Return once a job has ended, or as `wait` does."""
        await self.wait(Channel(ChannelKind.JOB, job_id), lambda state: state.has_ended, timeout_s)

    def join(self, channel: Channel, last: int, key_id: str) -> RecentEvents:
        """Follow a channel whose last event was `last` a moment ago. Every `join` needs a `leave`."""
        recent = self._followed.setdefault(channel, RecentEvents(channel, last))
        recent.streams += 1
        self._keys[key_id] += 1
        self._needed[channel.kind].set()
        return recent

    def leave(self, recent: RecentEvents, key_id: str) -> None:
        """End a stream. A channel without streams is no longer polled."""
        recent.streams -= 1
        if not recent.streams:
            del self._followed[recent.channel]
        self._keys[key_id] -= 1
        if not self._keys[key_id]:
            del self._keys[key_id]

    async def catch_up(self, recent: RecentEvents, cursor: int) -> Sequence[EncodedEvent] | None:
        """Read events above `cursor` from the database. None if it does not answer."""
        async with self._catching_up:
            try:
                return await asyncio.to_thread(self._source.page, recent.channel, cursor)
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
        for waiter in self._waiters:
            waiter.woken.set()
        for recent in self._followed.values():
            recent.wake_streams()

    async def _poll(self, kind: ChannelKind) -> None:
        while True:
            await self._needed[kind].wait()
            channels = {waiter.channel for waiter in self._waiters} | self._followed.keys()
            channels = {channel for channel in channels if channel.kind == kind}
            if channels:
                await self._poll_once(channels)
                await asyncio.sleep(self.poll_s)
            else:
                self._needed[kind].clear()

    async def _poll_once(self, channels: Collection[Channel]) -> None:
        try:
            states = await asyncio.to_thread(self._source.states, channels)
            await self._update_recent_events(channels, states)
            await self._check_keys()
        except HeldoutError as error:
            # Clients keep waiting: the database may be back before their time is up.
            log.warning("waiting_clients_not_served", reason=error.detail)
            return
        except Exception:
            log.exception("poller_failed")
            return
        for waiter in self._waiters:
            if waiter.channel not in channels:
                continue  # it joined after the query
            state = states.get(waiter.channel)
            if state is None or waiter.is_enough(state):
                waiter.woken.set()

    async def _update_recent_events(
        self, channels: Collection[Channel], states: Mapping[Channel, ChannelState]
    ) -> None:
        followed = [recent for channel, recent in self._followed.items() if channel in channels]
        after: dict[Channel, int] = {}
        for recent in followed:
            state = states.get(recent.channel)
            if state is None:
                recent.is_gone = True
                recent.wake_streams()
            elif state.last_event > recent.last:
                after[recent.channel] = recent.read_above(state.last_event)
            elif state.has_ended and not recent.is_complete:
                recent.add(state.last_event, (), is_complete=True)
        if not after:
            return
        found = await asyncio.to_thread(self._source.list_events_after, after)
        for recent in followed:
            if recent.channel in after:
                state = states[recent.channel]
                recent.add(state.last_event, found.get(recent.channel, ()), is_complete=state.has_ended)

    async def _check_keys(self) -> None:
        if not self._keys or monotonic() - self._keys_checked_at < self.keys_every_s:
            return
        self._keys_checked_at = monotonic()
        self.revoked = frozenset(await asyncio.to_thread(self._source.revoked, set(self._keys)))
        if self.revoked:
            for recent in self._followed.values():
                recent.wake_streams()
