"""The objects that all routes of one app share."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, Protocol, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from api.dispatch import Publisher
from api.http.places import LargeAnswers, LargeBodies
from api.http.rates import Rates
from api.http.upload_body import Uploads
from api.live.hub import Hub
from api.turns import SharedPlaces, Turns
from heldout.errors import HeldoutError
from heldout.service.settings import Settings
from models.blobs import Blobs
from models.database import Database
from models.secret_box import SecretBox
from models.store.keys import Caller, KeyUses

# A revoked key may still be accepted for this long.
CACHED_S = 1.0
MAX_CACHED = 10_000

Key = TypeVar("Key")
Value = TypeVar("Value")


class TtlCache(Generic[Key, Value]):
    """Keeps each value for a second. Not thread-safe."""

    def __init__(self) -> None:
        self._cached: dict[Key, tuple[Value, float]] = {}

    def get(self, key: Key) -> Value | None:
        """Return the value, or None if it is missing or expired."""
        cached = self._cached.get(key)
        return None if cached is None or cached[1] < time.monotonic() else cached[0]

    def keep(self, key: Key, value: Value) -> Value:
        """Store the value, and return it."""
        if len(self._cached) >= MAX_CACHED:
            self._cached.clear()
        self._cached[key] = value, time.monotonic() + CACHED_S
        return value


# A check costs a few SQL statements, and writing, reading and deleting a blob.
CHECK_LASTS_S = 2.0


class Readiness:
    """Whether the service can answer, checked again when the last result is too old."""

    def __init__(self, check: Callable[[], None], lasts_s: float = CHECK_LASTS_S) -> None:
        """`check` raises what is wrong. It may block."""
        self._check = check
        self._lasts_s = lasts_s
        self._checked_at = float("-inf")
        self._failure: HeldoutError | None = None
        self._checking = asyncio.Lock()
        # Its own thread, because all threads that answer requests may be busy.
        self._thread = CapacityLimiter(1)

    async def require(self) -> None:
        """Raise what the last check found wrong, after a new check if that one is too old."""
        if self._is_old():
            async with self._checking:
                if self._is_old():
                    await self._check_now()
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    def _is_old(self) -> bool:
        return monotonic() - self._checked_at > self._lasts_s

    async def _check_now(self) -> None:
        try:
            await to_thread.run_sync(self._check, limiter=self._thread)
            self._failure = None
        except HeldoutError as failure:
            self._failure = failure
        self._checked_at = monotonic()


KEY_LOOKUPS_AT_ONCE = 8
# Files of predictions diagnosed at the same time.
FILES_AT_ONCE = 2
# Results of studies stored at the same time.
RESULTS_AT_ONCE = 4


@dataclass(frozen=True)
class AskedPrediction:
    """The options of a request for predictions."""

    top_k: int
    threshold: float | None
    calibrated: bool
    wait_s: float


class PredictionServer(Protocol):
    """Answers requests for predictions in this process, or forwards them to another process."""

    is_here: bool

    async def predict(self, request: Request, job_id: str, asked: AskedPrediction) -> Response:
        """Answer what a job's model predicts for the images in the body. Raises the errors that the route documents."""

    async def pass_on(self, request: Request) -> Response:
        """Forward the request to another process. Raises PredictionsUnavailable."""

    async def close(self) -> None:
        """Release what the server holds."""


@dataclass(frozen=True)
class AppContext:
    """Made once by `create_app` and kept as `app.state.context`."""

    settings: Settings
    database: Database
    blobs: Blobs
    hub: Hub
    publisher: Publisher | None  # None: workers poll the database about ten times a second
    places: SharedPlaces
    uploads: Uploads
    readiness: Readiness
    rates: Rates
    key_uses: KeyUses
    secret_box: SecretBox
    predictions: PredictionServer
    # Invalid keys are looked up too. Without a limit, such requests could occupy every thread.
    key_lookups: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(KEY_LOOKUPS_AT_ONCE))
    # Callers by their keys, for routes that are called often.
    callers: TtlCache[str, Caller] = field(default_factory=TtlCache)
    large_bodies: LargeBodies = field(default_factory=LargeBodies)
    large_answers: LargeAnswers = field(default_factory=LargeAnswers)
    # New studies are written one at a time: on SQLite, several large ones would block all other writers.
    study_turns: Turns = field(default_factory=lambda: Turns(at_once=1))
    # Results of one study wait for its row, so each would occupy a thread and a connection.
    result_turns: Turns = field(default_factory=lambda: Turns(RESULTS_AT_ONCE, per_group=1))
    # Diagnosing a file of predictions may take seconds and 200 MB. Each owner has one at a time, and does not wait for
    # other owners' files.
    diagnosing: Turns = field(default_factory=lambda: Turns(FILES_AT_ONCE, per_group=1))
