"""How fast uploads must come, and until when."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

from heldout.errors import UploadTooSlow

# Over so many seconds of waiting for the client the least rate is measured; a client may be silent no longer.
WINDOW_S = 20.0


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
