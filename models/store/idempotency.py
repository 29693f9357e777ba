"""Stored answers to requests with an Idempotency-Key, kept per owner for 24 hours."""

from typing import Any

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from heldout.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from models.database import db_now
from models.store import statements
from models.tables import IdempotencyRow

ANSWER_KEPT_S = 24 * 3600


def replay(session: Session, owner: str, key: str, request_sha256: str) -> IdempotencyRow | None:
    """Find the stored answer to the same request. None if it is new; this transaction then holds its key.

    Raises:
        IdempotencyKeyReused: if the key was used for another request.
        IdempotencyKeyInFlight: if another transaction is answering it right now. SQLite waits for that instead.
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
    """Store an answer, in the transaction of the request."""
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
    """Delete an answer because its effect was undone."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.owner == owner, IdempotencyRow.key == key))


def forget_old(session: Session) -> None:
    """Delete answers that are too old to be replayed."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < db_now(-ANSWER_KEPT_S)))
