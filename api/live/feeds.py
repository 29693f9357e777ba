"""The latest events of a streamed job, encoded once and shared by all its streams, which keep nothing but a place."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# What a feed keeps for its readers; one that is further behind is caught up from the database.
KEPT_EVENTS = 64
KEPT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Wire:
    """An event's number, and the event as it goes over the wire."""

    id: int
    text: bytes


class Feed:
    """What is known of one job's events: all numbers above `floor` and up to `last` are at hand."""

    def __init__(self, job_id: str, last: int) -> None:
        self.job_id = job_id
        self.floor = last
        self.last = last
        self.ended = False  # the job has, so `last` is its last event for good
        self.gone = False
        self.readers = 0
        self.changed = asyncio.Event()  # set, and replaced by a new one, whenever there is news
        self._tail: deque[Wire] = deque()
        self._bytes = 0

    def after(self, cursor: int) -> Sequence[Wire] | None:
        """The events above `cursor`; None if some of them are no longer at hand."""
        if cursor < self.floor:
            return None
        return [one for one in self._tail if one.id > cursor] if cursor < self.last else []

    def put(self, last: int, events: Iterable[Wire], *, ended: bool) -> None:
        """Take in that the job's last event is `last`, with the events that were read above `wanted_after(last)`."""
        if self.wanted_after(last) > self.last:
            self._tail.clear()
            self._bytes = 0
            self.floor = self.wanted_after(last)
        self.last = max(self.last, last)
        for one in events:
            self._tail.append(one)
            self._bytes += len(one.text)
            self.last = max(self.last, one.id)
        while len(self._tail) > KEPT_EVENTS or (self._bytes > KEPT_BYTES and len(self._tail) > 1):
            dropped = self._tail.popleft()
            self._bytes -= len(dropped.text)
            self.floor = dropped.id
        self.ended = ended
        self.wake()

    def wanted_after(self, last: int) -> int:
        """Above which number events are to be read when the job's last one is `last`."""
        return max(self.last, last - KEPT_EVENTS)

    def wake(self) -> None:
        """Let every reader look again."""
        self.changed.set()
        self.changed = asyncio.Event()
