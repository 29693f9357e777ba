"""Consistent snapshots of a database, which several programs can share."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import text

from models.database import Database, Session, translate_errors


def copy_sqlite(file: Path, copy: Path) -> None:
    """Copy a SQLite database consistently while others write to it. `copy` must not exist yet."""
    with closing(sqlite3.connect(file, timeout=30)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        # Leaves a single file, so that no auxiliary file can be forgotten.
        target.execute("PRAGMA journal_mode=DELETE")


@contextmanager
def open_postgresql_snapshot(database: Database) -> Iterator[tuple[Session, str]]:
    """Open a session on a PostgreSQL snapshot, with the snapshot's name for `pg_dump --snapshot`.

    Raises:
        DatabaseUnavailable.
    """
    with translate_errors(), database.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            for timeout in ("statement_timeout", "idle_in_transaction_session_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {timeout} = 0")  # a dump may take any time
            name = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
            with Session(connection, autoflush=False) as session:
                yield session, name
        finally:
            connection.exec_driver_sql("ROLLBACK")
