"""Places for large JSON bodies: each is held in memory whole, from its first bytes until it has been parsed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from anyio import CapacityLimiter
from starlette.requests import Request

from api.http.body import LARGE_BODY_BYTES, discard_body, receive_json
from api.http.upload_pace import Places
from heldout.errors import TooManyUploads

# With `HELDOUT_MAX_BODY_BYTES` of a mebibyte they take some 50 MiB at most.
AT_ONCE = 24
AT_ONCE_PER_OWNER = 8
# How long a request waits for a place: those before it are read within seconds, unless their clients are slow.
PATIENCE_S = 10.0
# How much is received, and dropped, of a body for which there is no place.
MAX_REFUSED_BYTES = 64 * 1024
MAX_REFUSED_S = 1.0


class LargeBodies:
    """Of one process, shared by all owners. For one thread: the event loop's."""

    def __init__(self) -> None:
        self._places = Places(AT_ONCE, AT_ONCE_PER_OWNER)
        self._parsing = CapacityLimiter(1)

    def parser_of(self, raw: bytes) -> CapacityLimiter | None:
        """Parsers hold Python's lock for long over a large body: one at a time, so that others have their turn."""
        return self._parsing if len(raw) > LARGE_BODY_BYTES else None

    @asynccontextmanager
    async def received(self, request: Request, limit_bytes: int, owner: str) -> AsyncIterator[bytes]:
        """A body that says it is JSON, whole; a large one has its place while the block runs.

        Raises:
            TooManyUploads: there is none for this owner; and as `receive_json`.
        """
        async with AsyncExitStack() as taken:
            yield await receive_json(request, limit_bytes, lambda: self._take(taken, request, owner))

    async def _take(self, taken: AsyncExitStack, request: Request, owner: str) -> None:
        try:
            await self._places.wait_for_room(owner, PATIENCE_S)
        except TooManyUploads as error:
            if not await discard_body(request, MAX_REFUSED_BYTES, MAX_REFUSED_S):
                error.headers["Connection"] = "close"
            raise
        taken.enter_context(self._places.taken_by(owner))
