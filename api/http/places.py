"""Limits how many large bodies, large answers and uploads are in memory, and how slow an upload may be."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from time import monotonic

from anyio import CapacityLimiter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from analysis.scheduling.fair_share import has_room
from api.http.body import LARGE_BODY_BYTES, deliver_refusal, receive_json
from api.turns import Turns
from heldout.errors import HeldoutError, TooManyDownloads, TooManyUploads, UploadTooSlow
from heldout.words import format_duration

LARGE_ANSWER_BYTES = 64 * 1024
EVENTS = "text/event-stream"
# Answers produced while they are sent: files, splits, tables. Each has one or two megabytes in memory at a time.
STREAMS_AT_ONCE, STREAMS_AT_ONCE_PER_OWNER = 24, 8
# Answers that are in memory as a whole, such as pages of lists. Most clients read one within milliseconds.
WHOLE_AT_ONCE, WHOLE_AT_ONCE_PER_OWNER = 48, 16
# How long a request waits for a place before its answer is made.
PATIENCE_S = 10.0
# With `HELDOUT_MAX_BODY_BYTES` of one MiB, all bodies take about 50 MiB at most.
BODIES_AT_ONCE = 24
BODIES_AT_ONCE_PER_OWNER = 8


class UploadPlaces:
    """The places of one process, shared by all owners. Used on the event loop's thread only."""

    def __init__(self, places: int, per_owner: int, refusal: Callable[[int], HeldoutError] = TooManyUploads) -> None:
        """refusal: makes the error for when there is no room, from the number of places that the owner has."""
        self._places = places
        self._per_owner = per_owner
        self._refusal = refusal
        self._taken: Counter[str] = Counter()
        self._left = asyncio.Event()

    def require_room(self, owner: str) -> None:
        """Raise the refusal if the owner may not take a place now."""
        if not self._has_room(owner):
            raise self._refusal(self._taken[owner])

    async def wait_for_room(self, owner: str, patience_s: float) -> None:
        """Wait until the owner may take a place. Raises the refusal after `patience_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while not self._has_room(owner):
                    await self._left.wait()
        self.require_room(owner)

    @contextmanager
    def take_for(self, owner: str) -> Iterator[None]:
        """Hold a place while the block runs. Raises the refusal if there is none."""
        self.require_room(owner)
        self._taken[owner] += 1
        try:
            yield
        finally:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]
            # Waiting requests check again; later requests wait for the next free place.
            self._left.set()
            self._left = asyncio.Event()

    def _has_room(self, owner: str) -> bool:
        return has_room(self._taken[owner], self._places - self._taken.total(), self._per_owner)


class LargeBodies:
    """The large bodies of one process, for all owners. Used on the event loop's thread only."""

    def __init__(self) -> None:
        self._places = UploadPlaces(BODIES_AT_ONCE, BODIES_AT_ONCE_PER_OWNER)
        self._parsing = CapacityLimiter(1)

    def get_parser(self, raw: bytes) -> CapacityLimiter | None:
        """Get the limiter for parsing a body. Only one large body is parsed at a time, because it holds the GIL."""
        return self._parsing if len(raw) > LARGE_BODY_BYTES else None

    @asynccontextmanager
    async def received(self, request: Request, limit_bytes: int, owner: str) -> AsyncIterator[bytes]:
        """Receive a whole JSON body. A large one holds its place while the block runs.

        Raises:
            TooManyUploads: if this owner has no free place. Also everything that `receive_json` raises.
        """
        async with AsyncExitStack() as taken:
            yield await receive_json(request, limit_bytes, lambda: self._take(taken, request, owner))

    async def _take(self, taken: AsyncExitStack, request: Request, owner: str) -> None:
        async with deliver_refusal(request, TooManyUploads):
            await self._places.wait_for_room(owner, PATIENCE_S)
        taken.enter_context(self._places.take_for(owner))


class LargeAnswers:
    """The large answers of one process, for all owners. Used on the event loop's thread only.

    table_turns: one thread writes tables, a piece at a time, for each owner in turn. Several threads would keep the GIL
    from the threads that answer other requests.
    """

    def __init__(self) -> None:
        self._streams = UploadPlaces(STREAMS_AT_ONCE, STREAMS_AT_ONCE_PER_OWNER, TooManyDownloads)
        self._whole = UploadPlaces(WHOLE_AT_ONCE, WHOLE_AT_ONCE_PER_OWNER, TooManyDownloads)
        self.table_turns = Turns(at_once=1)

    async def wait_for_place(self, held: ExitStack, owner: str) -> None:
        """Take a place for a streamed answer. Raises TooManyDownloads if none becomes free in time."""
        await self._streams.wait_for_room(owner, PATIENCE_S)
        held.enter_context(self._streams.take_for(owner))

    async def take_place_of(self, response: Response, held: ExitStack, owner: str) -> None:
        """Take a place for an answer, if it is large. Raises TooManyDownloads."""
        if isinstance(response, StreamingResponse):
            if response.media_type != EVENTS:  # streams of events have a quota instead
                await self.wait_for_place(held, owner)
        elif len(response.body) > LARGE_ANSWER_BYTES:
            # Without waiting, because waiting answers would stay in memory.
            held.enter_context(self._whole.take_for(owner))


async def sends_much() -> None:
    """Marks, as a dependency, routes with expensive answers: they wait for a place before the answer is made."""


class PlacedResponse(Response):
    """A response that holds a place until it is sent or its client disconnects."""

    def __init__(self, response: Response, held: ExitStack) -> None:
        self._response = response
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await self._response(scope, receive, send)


# A client's rate is measured over this time, which is also the longest pause allowed.
WINDOW_S = 20.0


async def pace_stream(stream: AsyncIterator[bytes], min_bytes_per_s: int, max_s: float) -> AsyncGenerator[bytes]:
    """Pass the chunks of a body on. Raises UploadTooSlow if they arrive too slowly, or not all before the deadline.

    The rate counts only the time spent waiting for the client. The deadline counts all time.
    """
    too_slow = UploadTooSlow(f"The content was not complete after {format_duration(max_s)}.")
    ends, waited_s, received = monotonic() + max_s, 0.0, 0
    while True:
        began = monotonic()
        left_s = ends - began
        if left_s <= 0:
            raise too_slow
        try:
            async with asyncio.timeout(min(WINDOW_S, left_s)):
                chunk = await anext(stream, None)
        except TimeoutError:
            if left_s <= WINDOW_S:
                raise too_slow from None
            raise UploadTooSlow(f"Nothing arrived for {WINDOW_S:g} seconds.") from None
        if chunk is None:
            return
        waited_s += monotonic() - began
        received += len(chunk)
        if waited_s >= WINDOW_S:
            if received < min_bytes_per_s * waited_s:
                raise UploadTooSlow(
                    f"{received / waited_s:,.0f} bytes arrived per second; this service expects at least "
                    f"{min_bytes_per_s:,}."
                )
            waited_s, received = 0.0, 0
        yield chunk
