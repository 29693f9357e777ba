"""Answers kept for requests that bear an Idempotency-Key, for 24 hours an owner."""

from typing import Any

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from heldout.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from models.database import db_now
from models.store import statements
from models.tables import IdempotencyRow

ANSWER_KEPT_S = 24 * 3600


def replay(session: Session, owner: str, key: str, request_sha256: str) -> IdempotencyRow | None:
    """The stored answer to the same request, or None for a new one, whose key this transaction then holds.

    Raises:
        IdempotencyKeyReused: the key came with another request.
        IdempotencyKeyInFlight: another transaction is answering it right now (SQLite waits for it instead).
    """
    if not statements.try_lock(session, "idempotency", owner, key):
        raise IdempotencyKeyInFlight
    session.execute(
        delete(IdempotencyRow).where(
            IdempotencyRow.owner == owner, IdempotencyRow.key == key, IdempotencyRow.created_at < db_now(-ANSWER_KEPT_S)
        )
    )
    row = session.get(IdempotencyRow, (owner, key))
    if row is not None and row.request_sha256 != request_sha256:
        raise IdempotencyKeyReused
    return row


def keep(
    session: Session,
    owner: str,
    key: str,
    request_sha256: str,
    *,
    status: int,
    body: dict[str, Any],
    headers: dict[str, Any],
) -> None:
    """Keep an answer; it is committed together with what the request did."""
    session.execute(
        insert(IdempotencyRow).values(
            owner=owner,
            key=key,
            request_sha256=request_sha256,
            status=status,
            body=body,
            headers=headers,
            created_at=db_now(),
        )
    )


def forget(session: Session, owner: str, key: str) -> None:
    """Forget an answer: what it tells of was undone."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.owner == owner, IdempotencyRow.key == key))


def forget_old(session: Session) -> None:
    """Remove answers that are older than a replay can ask for."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < db_now(-ANSWER_KEPT_S)))
