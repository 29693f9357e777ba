"""Idempotency keys: a repeated request gets the stored answer of the first request."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel, Field, TypeAdapter

from api.http.context import get_current_context
from api.http.problems import raises
from heldout.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from heldout.views.account import NewKeyView, WebhookWithSecret
from heldout.views.dataset import DatasetView
from heldout.views.job import JobView
from heldout.views.model import EvaluationView, ModelView
from heldout.views.study import StudyView
from models.database import Session
from models.store import idempotency

Made = TypeVar("Made", JobView, DatasetView, StudyView, ModelView, EvaluationView, WebhookWithSecret, NewKeyView)
# Answers that are stored unchanged.
_STORED: TypeAdapter[Any] = TypeAdapter(
    Annotated[JobView | DatasetView | StudyView | ModelView | EvaluationView, Field(discriminator="object")]
)
# Keys are missing: a single key cannot be read.
_ROUTES: Mapping[str, str] = {
    "job": "/v1/jobs",
    "dataset": "/v1/datasets",
    "study": "/v1/studies",
    "model": "/v1/models",
    "evaluation": "/v1/evaluations",
    "webhook": "/v1/webhooks",
}

REPLAYED = "Idempotent-Replayed"


@dataclass(frozen=True)
class ReplayCodec(Generic[Made]):
    """How an answer that contains a secret is stored without it (`encode`), and rebuilt (`decode`)."""

    encode: Callable[[Made], dict[str, Any]]
    decode: Callable[[Mapping[str, Any]], Made]


@dataclass(frozen=True)
class IdempotentRequest:
    """A request that creates something: at most once if it has an idempotency key. route: its method and path."""

    key: str | None
    route: str
    response: Response

    def make(
        self,
        session: Session,
        spec: BaseModel | None,
        act: Callable[[], Made],
        codec: ReplayCodec[Made] | None = None,
    ) -> Made:
        """Make something with `act`, or return what the same request made before. Sets the headers of a 201.

        Args:
            spec: the body as sent, or None. It identifies the request, together with the route.
            codec: for answers that must not be stored unchanged.
        Raises:
            IdempotencyKeyReused, IdempotencyKeyInFlight, and what `codec.decode` raises.
        """
        context = get_current_context()
        if self.key is None:
            return self._make_new(act)
        request = _compute_fingerprint(self.route, spec)
        kept = idempotency.replay(session, context.caller.owner, self.key, request)
        if kept is not None:
            context.change = None
            made: Made = _STORED.validate_python(kept.body) if codec is None else codec.decode(kept.body)
            self.response.status_code = kept.status
            self.response.headers.update({**kept.headers, REPLAYED: "true"})
            return made
        made = self._make_new(act)
        body = made.model_dump(mode="json") if codec is None else codec.encode(made)
        headers = {name: self.response.headers[name] for name in ("Location",) if name in self.response.headers}
        idempotency.keep(session, context.caller.owner, self.key, request, status=201, body=body, headers=headers)
        return made

    @property
    def is_replayed(self) -> bool:
        """Whether `make` has returned what an earlier request made."""
        return REPLAYED in self.response.headers

    def _make_new(self, act: Callable[[], Made]) -> Made:
        made = act()
        if made.object in _ROUTES:
            self.response.headers["Location"] = f"{_ROUTES[made.object]}/{made.id}"
        return made


@raises(IdempotencyKeyInFlight, IdempotencyKeyReused)
async def _read_idempotent_request(
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=r"^[\x20-\x7e]+$",
            description="The same key with the same request returns the stored answer for 24 hours.",
        ),
    ] = None,
) -> IdempotentRequest:
    return IdempotentRequest(idempotency_key, f"{request.method} {request.scope['path']}", response)


IdempotentRequestDep = Annotated[IdempotentRequest, Depends(_read_idempotent_request)]


def _compute_fingerprint(route: str, spec: BaseModel | None) -> str:
    """Compute the SHA-256 of the route and of the body as canonical JSON."""
    body = None if spec is None else spec.model_dump(mode="json", exclude_unset=True)
    canonical = json.dumps([route, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
