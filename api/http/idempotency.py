"""Idempotency keys: a repeated request gets the stored answer of the first one."""

import hashlib
import json
from collections.abc import Callable
from typing import Annotated

from fastapi import Header, Response

from heldout.spec import SpecPart
from heldout.views.job import JobView
from models.database import Session
from models.store import idempotency

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
    spec: SpecPart | None,
    response: Response,
    act: Callable[[], JobView],
) -> JobView:
    """Make a job by `act`, or give back the one that the same request made; sets the headers of a 201.

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
        response.status_code = kept.status
        response.headers.update({**kept.headers, "Idempotent-Replayed": "true"})
        return JobView.model_validate(kept.body)
    job = _made(response, act)
    headers = {"Location": response.headers["Location"]}
    idempotency.keep(session, owner, key, request, status=201, body=job.model_dump(mode="json"), headers=headers)
    return job


def _made(response: Response, act: Callable[[], JobView]) -> JobView:
    job = act()
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


def _fingerprint(route: str, spec: SpecPart | None) -> str:
    """SHA-256 of the route and of the body as canonical JSON."""
    body = None if spec is None else spec.model_dump(mode="json", exclude_unset=True)
    canonical = json.dumps([route, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
