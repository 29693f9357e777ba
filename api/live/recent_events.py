"""The latest events of a channel, encoded once and shared by all its streams."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

# Kept for the streams. A stream that is further behind catches up from the database.
KEPT_EVENTS = 64
KEPT_BYTES = 64 * 1024


class ChannelKind(StrEnum):
    JOB = "job"
    OWNER = "owner"
    STUDY = "study"


@dataclass(frozen=True, slots=True)
class Channel:
    """What is followed: the events of one job or study, or all events of an owner."""

    kind: ChannelKind
    id: str


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event's number in its channel, and its bytes in a stream."""

    number: int
    text: bytes


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
