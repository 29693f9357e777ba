"""Runs Alembic's migrations from inside the service."""

from collections.abc import Iterator
from contextlib import contextmanager
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
from models.store.statements import lock_number

log = structlog.get_logger()

# How often a migration is tried that ends in deadlocks. PostgreSQL takes a second to notice one.
MOST_TRIES = 10
_REVISION = text("SELECT version_num FROM alembic_version")
FOLDER = Path(__file__).resolve().parent.parent / "alembic"


def upgrade(database: Database) -> str:
    """Bring the database to the newest revision and give that back. A service may go on using it.

    Raises:
        DatabaseUnavailable: if the database does not answer.
        OperatorError: if a later release has brought it further than this one knows.
    """
    with translate_errors():
        for tries_left in reversed(range(MOST_TRIES)):
            try:
                _upgrade(database)
                break
            except OperationalError as error:
                # Migrations lock one table after the other, as the work beside them does. Nothing was changed.
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
                "Run the release that made it, or restore a back-up."
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def migrating(database: Database) -> Iterator[Connection]:
    """A transaction in which tables may be changed: whole or not at all, one at a time, however long it takes."""
    with database.engine.execution_options(writes=True).connect() as connection:
        if connection.dialect.name == "sqlite":
            yield from _migrating_sqlite(connection)
        else:
            yield from _migrating_postgresql(connection)


def _migrating_postgresql(connection: Connection) -> Iterator[Connection]:
    with connection.begin():
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(select(func.pg_advisory_xact_lock(lock_number("migrations"))))
        yield connection


def _migrating_sqlite(connection: Connection) -> Iterator[Connection]:
    # SQLite changes a column by making the table anew. With foreign keys on, dropping the old one would delete every
    # row that hangs off it; the setting is ignored inside a transaction.
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        with connection.begin():
            yield connection
            broken = connection.execute(text("PRAGMA foreign_key_check")).fetchall()
            if broken:
                raise RuntimeError(f"The migration left rows that refer to none: {broken[:5]}.")
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def require_known(revision: str) -> None:
    """Raises OperatorError if a later release than this one has made tables of this revision."""
    if revision not in _list_known():
        raise OperatorError(
            f"The backup is of revision {revision}, which is later than this release's {get_newest()}. Restore it with "
            "the release that made it."
        )


def _list_known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(make_alembic_config()).walk_revisions()}


def require_revision(session: Session) -> None:
    """Raises DatabaseMismatched unless the tables are this release's, DatabaseUnavailable if there are none."""
    found = session.scalar(_REVISION)
    if found != get_newest():
        raise DatabaseMismatched(found, get_newest())


def get_newest() -> str:
    """The revision that this release needs."""
    return _find_newest_in(FOLDER)


@cache
def _find_newest_in(_folder: Path) -> str:
    head = ScriptDirectory.from_config(make_alembic_config()).get_current_head()
    assert head is not None
    return head


def require_newest(database: Database) -> None:
    """Let nothing serve on tables of another release; a database that is away is waited for, not refused.

    Raises:
        OperatorError: if the database is at another revision.
    """
    try:
        found = get_current(database)
    except DatabaseUnavailable:
        return
    if found != get_newest():
        raise OperatorError(
            f"The database is at revision {found or 'none'}, this release needs {get_newest()}. "
            "Run `heldout migrate` with the newest release that uses this database."
        )


def get_current(database: Database) -> str | None:
    """The revision that the database is at; None for an empty one. Raises DatabaseUnavailable."""
    with translate_errors(), database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def make_alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config
