"""One point in time of a database: a session that sees it, and a name by which other programs see the same."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import text

from models.database import Database, Session, translate_errors


def copy_sqlite(file: Path, copy: Path) -> None:
    """Copy a SQLite database as it is at one moment, while others go on writing to it; `copy` is not there yet."""
    with closing(sqlite3.connect(file, timeout=30)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        # In one file, so that nothing beside it can be forgotten.
        target.execute("PRAGMA journal_mode=DELETE")


@contextmanager
def open_postgresql_snapshot(database: Database) -> Iterator[tuple[Session, str]]:
    """A session on PostgreSQL that sees one moment, and that moment's name for `pg_dump --snapshot`.

    Raises:
        DatabaseUnavailable.
    """
    with translate_errors(), database.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            for timeout in ("statement_timeout", "idle_in_transaction_session_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {timeout} = 0")  # a dump takes as long as it takes
            name = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
            with Session(connection, autoflush=False) as session:
                yield session, name
        finally:
            connection.exec_driver_sql("ROLLBACK")
