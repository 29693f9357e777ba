"""Runs the Alembic migrations from inside the service, and makes consistent snapshots of the database."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import OperationalError

from heldout.errors import DatabaseMismatched, DatabaseUnavailable, OperatorError
from models.database import Database, Session, translate_errors
from models.store.statements import hash_lock_name

log = structlog.get_logger()

# How often to retry a migration that deadlocks. PostgreSQL detects a deadlock after a second.
MOST_TRIES = 10
_REVISION = text("SELECT version_num FROM alembic_version")
FOLDER = Path(__file__).resolve().parent.parent / "alembic"


def upgrade(database: Database) -> str:
    """Bring the database to the newest revision and return it. Services may use the database meanwhile.

    Raises:
        DatabaseUnavailable: if the database does not answer.
        OperatorError: if the database has a revision of a later release.
    """
    with translate_errors():
        for tries_left in reversed(range(MOST_TRIES)):
            try:
                _upgrade(database)
                break
            except OperationalError as error:
                # Migrations lock tables one by one, like other transactions. Nothing was changed.
                if not tries_left or type(error.orig).__name__ != "DeadlockDetected":
                    raise
                log.warning("migration_repeated", tries_left=tries_left)
    return get_newest()


def _upgrade(database: Database) -> None:
    config = make_alembic_config()
    with migrating(database) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and found not in _list_known():
            raise OperatorError(
                f"The database is at revision {found}, which is later than this release's {get_newest()}. "
                "Run the release that created it, or restore a backup."
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def migrating(database: Database) -> Iterator[Connection]:
    """Open a transaction that changes tables. Only one runs at a time, and it has no time limit."""
    with database.engine.execution_options(writes=True).connect() as connection:
        if connection.dialect.name == "sqlite":
            yield from _migrating_sqlite(connection)
        else:
            yield from _migrating_postgresql(connection)


def _migrating_postgresql(connection: Connection) -> Iterator[Connection]:
    with connection.begin():
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(select(func.pg_advisory_xact_lock(hash_lock_name("migrations"))))
        yield connection


def _migrating_sqlite(connection: Connection) -> Iterator[Connection]:
    # SQLite changes a column by re-creating the table. With foreign keys on, dropping the old table would delete all
    # rows that refer to it. The setting is ignored inside a transaction.
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        with connection.begin():
            yield connection
            broken = connection.execute(text("PRAGMA foreign_key_check")).fetchall()
            if broken:
                raise RuntimeError(f"The migration left rows with dangling references: {broken[:5]}.")
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def require_known(revision: str) -> None:
    """Raise OperatorError if the revision belongs to a later release."""
    if revision not in _list_known():
        raise OperatorError(
            f"The backup has revision {revision}, which is later than this release's {get_newest()}. Restore it with "
            "the release that made it."
        )


def _list_known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(make_alembic_config()).walk_revisions()}


def require_revision(session: Session) -> None:
    """Raise DatabaseMismatched unless the tables match this release, or DatabaseUnavailable if there are none."""
    found = session.scalar(_REVISION)
    if found != get_newest():
        raise DatabaseMismatched(found, get_newest())


def get_newest() -> str:
    """Get the revision that this release needs."""
    return _find_newest_in(FOLDER)


@cache
def _find_newest_in(_folder: Path) -> str:
    head = ScriptDirectory.from_config(make_alembic_config()).get_current_head()
    assert head is not None
    return head


def require_newest(database: Database) -> None:
    """Refuse to serve on tables of another release. An unreachable database is not refused.

    Raises:
        OperatorError: if the database is at another revision.
    """
    try:
        found = get_current(database)
    except DatabaseUnavailable:
        return
    if found != get_newest():
        raise OperatorError(
            f"The database is at revision {found or 'none'}, but this release needs {get_newest()}. "
            "Run `heldout migrate` with the newest release that uses this database."
        )


def get_current(database: Database) -> str | None:
    """Get the database's revision, or None if it is empty. Raises DatabaseUnavailable."""
    with translate_errors(), database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def make_alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config


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
