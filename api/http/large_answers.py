"""Places for large answers: each takes memory until its client has taken the last of it."""

from contextlib import ExitStack

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.http.upload_pace import Places
from api.turns import Turns
from heldout.errors import TooManyDownloads

LARGE_ANSWER_BYTES = 64 * 1024
EVENTS = "text/event-stream"
# Answers that are made while they are sent: files, splits, tables. Each has a megabyte or two at a time.
STREAMS_AT_ONCE, STREAMS_AT_ONCE_PER_OWNER = 24, 8
# Answers that are in memory whole, such as pages of lists: most clients take one within milliseconds.
WHOLE_AT_ONCE, WHOLE_AT_ONCE_PER_OWNER = 48, 16
# How long a request waits for a place before anything of its answer is made.
PATIENCE_S = 10.0


class LargeAnswers:
    """Of one process, shared by all owners. For one thread: the event loop's.

    table_turns: tables are written by one thread, a piece at a time, for each owner in turn. Several threads would keep
    Python's lock from those that answer other requests.
    """

    def __init__(self) -> None:
        self._streams = Places(STREAMS_AT_ONCE, STREAMS_AT_ONCE_PER_OWNER, TooManyDownloads)
        self._whole = Places(WHOLE_AT_ONCE, WHOLE_AT_ONCE_PER_OWNER, TooManyDownloads)
        self.table_turns = Turns(at_once=1)

    async def wait_for_place(self, held: ExitStack, owner: str) -> None:
        """Take a place for a streamed answer. Raises TooManyDownloads where none is free in time."""
        await self._streams.wait_for_room(owner, PATIENCE_S)
        held.enter_context(self._streams.taken_by(owner))

    async def take_place_of(self, response: Response, held: ExitStack, owner: str) -> None:
        """Take a place for an answer, if it is large. Raises TooManyDownloads."""
        if isinstance(response, StreamingResponse):
            if response.media_type != EVENTS:  # of streams of events there is a quota
                await self.wait_for_place(held, owner)
        elif len(response.body) > LARGE_ANSWER_BYTES:
            # At once: those that waited would keep their answers in memory.
            held.enter_context(self._whole.taken_by(owner))


async def sends_much() -> None:
    """A dependency of routes whose answer takes memory or time to make: they wait for its place before it is made."""


class Placed(Response):
    """A response that keeps a place until it is sent, or its client has left."""

    def __init__(self, response: Response, held: ExitStack) -> None:
        self._response = response
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await self._response(scope, receive, send)
