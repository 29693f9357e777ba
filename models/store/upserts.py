"""`INSERT … ON CONFLICT`, which both databases have, each by a name of its own in SQLAlchemy."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

# The function that makes it, by the dialect's name. Their types differ, their methods do not.
INSERT_OF: Mapping[str, Callable[[Any], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def upsert(session: Session, table: Any) -> Any:
    """The statement for the session's database. table: a mapped class or a table."""
    return INSERT_OF[session.get_bind().dialect.name](table)
