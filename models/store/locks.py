"""Locks on what has no row yet, held until the transaction ends."""

import hashlib

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def hold(session: Session, *words: str) -> None:
    """Wait for, then hold, the lock that these words name. SQLite's writers are alone anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(lock_number(*words))))


def try_to_hold(session: Session, *words: str) -> bool:
    """Hold the lock; False if another transaction has it. SQLite's writers are alone anyway."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(lock_number(*words)))))


def lock_number(*words: str) -> int:
    """A 64-bit signed number for PostgreSQL's advisory locks."""
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
