"""Idempotency keys: a repeated request gets the stored answer of the first one."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Annotated, TypeVar

from fastapi import Header, Response
from pydantic import BaseModel

from api.http.context import current_context
from heldout.views.dataset import DatasetView
from heldout.views.job import JobView
from heldout.views.study import StudyView
from models.database import Session
from models.store import idempotency

Made = TypeVar("Made", JobView, DatasetView, StudyView)
_VIEWS: Mapping[str, type[JobView] | type[DatasetView] | type[StudyView]] = {
    "job": JobView,
    "dataset": DatasetView,
    "study": StudyView,
}
_ROUTES: Mapping[str, str] = {"job": "/v1/jobs", "dataset": "/v1/datasets", "study": "/v1/studies"}

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="For 24 hours the same key with the same request gives the stored answer.",
    ),
]


def once(
    session: Session,
    owner: str,
    key: str | None,
    route: str,
    spec: BaseModel | None,
    response: Response,
    act: Callable[[], Made],
) -> Made:
    """Make a job, a dataset or a study by `act`, or give back what the same request made; sets the headers of a 201.

    Args:
        route, spec: what tells requests apart; the spec as it was sent, None where there is none.
    Raises:
        IdempotencyKeyReused, IdempotencyKeyInFlight.
    """
    if key is None:
        return _made(response, act)
    request = _fingerprint(route, spec)
    kept = idempotency.replay(session, owner, key, request)
    if kept is not None:
        current_context().change = None
        response.status_code = kept.status
        response.headers.update({**kept.headers, "Idempotent-Replayed": "true"})
        return _VIEWS[kept.body["object"]].model_validate(kept.body)  # type: ignore[return-value]  # as `act` gave it
    made = _made(response, act)
    headers = {"Location": response.headers["Location"]}
    idempotency.keep(session, owner, key, request, status=201, body=made.model_dump(mode="json"), headers=headers)
    return made


def _made(response: Response, act: Callable[[], Made]) -> Made:
    made = act()
    response.headers["Location"] = f"{_ROUTES[made.object]}/{made.id}"
    return made


def _fingerprint(route: str, spec: BaseModel | None) -> str:
    """SHA-256 of the route and of the body as canonical JSON."""
    body = None if spec is None else spec.model_dump(mode="json", exclude_unset=True)
    canonical = json.dumps([route, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
