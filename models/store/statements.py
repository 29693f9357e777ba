"""Statements that differ between databases: named locks on what has no row yet, and upserts.

A transaction keeps its locks until it ends.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session


def lock(session: Session, *words: str) -> None:
    """Wait for the lock that these words name, and take it. SQLite has one writer at a time anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(lock_number(*words))))


def try_lock(session: Session, *words: str) -> bool:
    """Take the lock; False if another transaction has it. SQLite has one writer at a time anyway."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(lock_number(*words)))))


def lock_number(*words: str) -> int:
    """A 64-bit signed number for PostgreSQL's advisory locks."""
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


# The function that makes an upsert, by the dialect's name. Their types differ, their methods do not.
INSERT_OF: Mapping[str, Callable[[Any], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def upsert(session: Session, table: Any) -> Any:
    """The statement for the session's database. table: a mapped class or a table."""
    return INSERT_OF[session.get_bind().dialect.name](table)
