"""Pages of lists, and what differs between databases: upserts, and named locks for things without a row.

A transaction holds its locks until it ends.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from heldout.errors import HeldoutError

Found = TypeVar("Found")
Other = TypeVar("Other")
Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])


def select_page(query: Query, id_: Any, after: str | None, limit: int) -> Query:
    """Select rows after the id `after`, newest first: `limit`, plus one if there are more. id_: the column."""
    return query.where(*([] if after is None else [id_ < after])).order_by(id_.desc()).limit(limit + 1)


def find_one(session: Session, query: Select[Found], missing: HeldoutError) -> Found:
    """Return what a query finds. Raises `missing` if it finds nothing."""
    found = session.scalars(query).one_or_none()
    if found is None:
        raise missing
    return found


def find_both(session: Session, query: Select[Found, Other], missing: HeldoutError) -> tuple[Found, Other]:
    """Return the two rows that a query finds together. Raises `missing` if it finds nothing."""
    found = session.execute(query).one_or_none()
    if found is None:
        raise missing
    return found[0], found[1]


def lock(session: Session, *words: str) -> None:
    """Wait for the lock named by these words. Does nothing on SQLite, which has one writer at a time."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(hash_lock_name(*words))))


def try_lock(session: Session, *words: str) -> bool:
    """Take the lock if it is free, and return success. Always succeeds on SQLite, which has one writer at a time."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(hash_lock_name(*words)))))


def hash_lock_name(*words: str) -> int:
    """Hash the name of a lock to a signed 64-bit number for PostgreSQL's advisory locks."""
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


# The function that makes an upsert, by dialect. The types differ, but the methods do not.
INSERT_OF: Mapping[str, Callable[[Any], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def upsert(session: Session, table: Any) -> Any:
    """Make an upsert for the session's database. table: a mapped class or a table."""
    return INSERT_OF[session.get_bind().dialect.name](table)
