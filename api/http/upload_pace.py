"""How many uploads come at once, how fast they must come, and until when."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from analysis.scheduling.places import has_room
from heldout.errors import HeldoutError, TooManyUploads, UploadTooSlow

# Over so many seconds of waiting for the client the least rate is measured; a client may be silent no longer.
WINDOW_S = 20.0


class Places:
    """Of one process, shared by all owners. For one thread: the event loop's."""

    def __init__(self, places: int, per_owner: int, refusal: Callable[[int], HeldoutError] = TooManyUploads) -> None:
        """refusal: what is raised where there is no room, made of the number of places that the owner has."""
        self._places = places
        self._per_owner = per_owner
        self._refusal = refusal
        self._taken: Counter[str] = Counter()
        self._left = asyncio.Event()

    def require_room(self, owner: str) -> None:
        """Raises the refusal if the owner may not take a place now."""
        if not self._has_room(owner):
            raise self._refusal(self._taken[owner])

    async def wait_for_room(self, owner: str, patience_s: float) -> None:
        """Wait until the owner may take a place. Raises the refusal if that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while not self._has_room(owner):
                    await self._left.wait()
        self.require_room(owner)

    @contextmanager
    def taken_by(self, owner: str) -> Iterator[None]:
        """Take a place for as long as the block runs. Raises the refusal."""
        self.require_room(owner)
        self._taken[owner] += 1
        try:
            yield
        finally:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]
            # Requests that wait look again; later ones wait for the next place.
            self._left.set()
            self._left = asyncio.Event()

    def _has_room(self, owner: str) -> bool:
        return has_room(self._taken[owner], self._places - self._taken.total(), self._per_owner)


class PacedStream:
    """The chunks of a body. Raises UploadTooSlow where they come too slowly, or until the deadline not all have.

    Only the time counts that is spent waiting for the client, except towards the deadline.
    """

    def __init__(self, stream: AsyncIterator[bytes], min_bytes_per_s: int, max_s: float) -> None:
        self._stream = stream
        self._min_bytes_per_s = min_bytes_per_s
        self._max_s = max_s
        self._ends = monotonic() + max_s
        self._waited_s = 0.0
        self._received = 0

    def __aiter__(self) -> "PacedStream":
        return self

    async def __anext__(self) -> bytes:
        began = monotonic()
        left_s = self._ends - began
        if left_s <= 0:
            raise self._too_late()
        try:
            async with asyncio.timeout(min(WINDOW_S, left_s)):
                chunk = await anext(self._stream)
        except TimeoutError:
            if left_s <= WINDOW_S:
                raise self._too_late() from None
            raise UploadTooSlow(f"Nothing came for {WINDOW_S:g} seconds.") from None
        self._waited_s += monotonic() - began
        self._received += len(chunk)
        if self._waited_s >= WINDOW_S:
            if self._received < self._min_bytes_per_s * self._waited_s:
                rate = self._received / self._waited_s
                raise UploadTooSlow(
                    f"{rate:,.0f} bytes came a second; this service expects {self._min_bytes_per_s:,} at least."
                )
            self._waited_s, self._received = 0.0, 0
        return chunk

    def _too_late(self) -> UploadTooSlow:
        return UploadTooSlow(f"The content was not whole after {self._max_s:,.0f} seconds.")
