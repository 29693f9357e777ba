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
from api.shared_places import SharedPlaces
from api.turns import Turns
from heldout.errors import HeldoutError
from heldout.service.settings import Settings
from models.blobs import Blobs
from models.database import Database
from models.key_uses import KeyUses
from models.secret_box import SecretBox
from models.store.keys import Caller

# So long a key that was revoked may still be answered.
REMEMBERED_S = 1.0
MAX_REMEMBERED = 10_000

Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Values by their keys, each for a second. For one thread."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[Value, float]] = {}

    def get(self, key: Key) -> Value | None:
        """None where it is not known, or not any more."""
        known = self._known.get(key)
        return None if known is None or known[1] < time.monotonic() else known[0]

    def keep(self, key: Key, value: Value) -> Value:
        """Give the value back."""
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = value, time.monotonic() + REMEMBERED_S
        return value


# A look costs statements of the database, and a blob that is written, read and deleted.
LASTS_S = 2.0


class Readiness:
    """The last look, and the next one."""

    def __init__(self, look: Callable[[], None], lasts_s: float = LASTS_S) -> None:
        """`look` raises what is wrong; it may block."""
        self._look = look
        self._lasts_s = lasts_s
        self._looked_at = float("-inf")
        self._failure: HeldoutError | None = None
        self._looking = asyncio.Lock()
        # A thread of its own: those that answer requests may all be taken.
        self._thread = CapacityLimiter(1)

    async def require(self) -> None:
        """Raises what was wrong at the last look, which is a new one where that is too old."""
        if self._is_old():
            async with self._looking:
                if self._is_old():
                    await self._look_now()
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    def _is_old(self) -> bool:
        return monotonic() - self._looked_at > self._lasts_s

    async def _look_now(self) -> None:
        try:
            await to_thread.run_sync(self._look, limiter=self._thread)
            self._failure = None
        except HeldoutError as failure:
            self._failure = failure
        self._looked_at = monotonic()


KEY_LOOKUPS_AT_ONCE = 8
# Files of predictions that are judged side by side.
FILES_AT_ONCE = 2


@dataclass(frozen=True)
class AskedPrediction:
    """What a request for predictions wants beside its images."""

    top_k: int
    threshold: float | None
    calibrated: bool
    wait_s: float


class PredictionServer(Protocol):
    """Answers requests for predictions in this process, or passes them on to another one."""

    is_here: bool

    async def predict(self, request: Request, job_id: str, asked: AskedPrediction) -> Response:
        """What a job says of the images in the request's body. Raises what the route documents."""

    async def pass_on(self, request: Request) -> Response:
        """The answer of another process. Raises PredictionsUnavailable."""

    async def close(self) -> None:
        """Give back what it holds."""


@dataclass(frozen=True)
class AppContext:
    """Made once by `create_app` and kept as `app.state.context`."""

    settings: Settings
    database: Database
    blobs: Blobs
    hub: Hub
    publisher: Publisher | None  # None: workers look at the database by themselves, some ten times a second
    places: SharedPlaces
    uploads: Uploads
    readiness: Readiness
    rates: Rates
    key_uses: KeyUses
    secret_box: SecretBox
    predictions: PredictionServer
    # Strangers' keys are looked up too: without a limit they would take all the threads that answer others.
    key_lookups: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(KEY_LOOKUPS_AT_ONCE))
    # By their keys, for routes that are asked often.
    callers: Remembered[str, Caller] = field(default_factory=Remembered)
    large_bodies: LargeBodies = field(default_factory=LargeBodies)
    large_answers: LargeAnswers = field(default_factory=LargeAnswers)
    # New studies are written one at a time: on SQLite several large ones would keep all other writers waiting.
    study_turns: Turns = field(default_factory=lambda: Turns(at_once=1))
    # Of files of predictions, each of which may take seconds and two hundred megabytes: an owner judges one at a time,
    # and does not wait for another owner's.
    judging: Turns = field(default_factory=lambda: Turns(FILES_AT_ONCE, per_group=1))
