"""Answering a repeated request with what the first one was answered."""

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header, Response

from api.views import JobView
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


def fingerprint(route: str, body: Any) -> str:
    """Tells requests apart: SHA-256 of the route and of the body as canonical JSON."""
    canonical = json.dumps([route, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def once(
    session: Session, owner: str, key: str | None, request: str, response: Response, act: Callable[[], JobView]
) -> JobView:
    """Make a job by `act`, or give back the one that the same request made; sets the headers of a 201.

    Args:
        request: its fingerprint.
    Raises:
        IdempotencyKeyReused, IdempotencyKeyInFlight.
    """
    if key is not None and (kept := idempotency.replay(session, owner, key, request)) is not None:
        response.status_code = kept.status
        response.headers.update({**kept.headers, "Idempotent-Replayed": "true"})
        return JobView.model_validate(kept.body)
    job = act()
    headers = {"Location": f"/v1/jobs/{job.id}"}
    response.headers.update(headers)
    if key is not None:
        idempotency.keep(session, owner, key, request, status=201, body=job.model_dump(mode="json"), headers=headers)
    return job
