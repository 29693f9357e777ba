"""The objects that all routes of one app share."""

from dataclasses import dataclass, field
from typing import Protocol

from anyio import CapacityLimiter
from starlette.requests import Request
from starlette.responses import Response

from api.dispatch import Publisher
from api.http.places import LargeAnswers, LargeBodies
from api.http.rates import Rates
from api.http.readiness import Readiness
from api.http.upload_body import Uploads
from api.live.hub import Hub
from api.remembered import Remembered
from api.shared_places import SharedPlaces
from api.turns import Turns
from heldout.service.settings import Settings
from models.blobs import Blobs
from models.database import Database
from models.key_uses import KeyUses
from models.secret_box import SecretBox
from models.store.keys import Caller

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


class Predictor(Protocol):
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
    predictions: Predictor
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
