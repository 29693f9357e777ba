"""Engine and sessions from a URL, and the database's own clock."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy import DateTime, Dialect, Engine, String, create_engine, event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session as Session  # annotations elsewhere take it from here
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from heldout.access.rights import NO_BOUNDS, Bounds
from heldout.errors import DatabaseUnavailable
from models.wake import NOTED, WakeUp

log = structlog.get_logger()

# Other packages import the type Session from here, and never create sessions.
__all__ = ["Database", "Limits", "Session", "UtcTime", "db_now", "translate_errors"]

# The key in a session's `info` for the settings' bounds of owners.
BOUNDS = "bounds"
SQLITE_STATEMENT_FAULTS = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
}
# SQLite does not queue its writers: a waiting one looks again after at most 25 ms, and every 100 ms after 0.2 s.
PAUSE_BETWEEN_PIECES_S = 0.03
CONNECT_TIMEOUT_S = 5
# Without these, the kernel waits 15 minutes for a broken link.
LINK_DEAD_AFTER_S = 20
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2}


@dataclass(frozen=True)
class Limits:
    """Connection limits and timeouts of one process.

    Attributes:
        pool_size, pool_overflow: PostgreSQL allows 100 connections by default. An API and a worker use at most 2 × 20.
        ping_after_s: connections idle for longer are pinged before use. Restarting a server takes longer.
        sqlite_busy_ms: how long an SQLite writer waits for another writer before it gives up.
        idle_in_transaction_ms: a process stopped inside a transaction holds its rows no longer than this.
    """

    pool_size: int = 10
    pool_overflow: int = 10
    pool_timeout_s: float = 5
    ping_after_s: float = 0.5
    sqlite_busy_ms: int = 5_000
    statement_timeout_ms: int = 10_000
    idle_in_transaction_ms: int = 15_000


class UtcTime(TypeDecorator[datetime]):
    """A UTC time in milliseconds: timestamptz on PostgreSQL, ISO text on SQLite (which sorts chronologically)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return String(24) if dialect.name == "sqlite" else DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone. Add one, such as datetime.UTC.")
        moment = value.astimezone(UTC)
        if dialect.name == "sqlite":
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return value.astimezone(UTC) if value is not None else None


class db_now(FunctionElement[datetime]):  # noqa: N801  (reads as the SQL function that it is)
    """The database's current time, optionally plus some seconds: `db_now()`, `db_now(60)`, `db_now(column)`."""

    type = UtcTime()
    inherit_cache = True
    name = "db_now"


@compiles(db_now, "sqlite")
def _compile_sqlite_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    seconds = "".join(f", ({compiler.process(clause, **kw)}) || ' seconds'" for clause in element.clauses)
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', 'now'{seconds})"


@compiles(db_now, "postgresql")
def _compile_postgresql_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    # clock_timestamp() advances within a transaction, like SQLite's clock. Truncated to SQLite's precision.
    seconds = "".join(f" + make_interval(secs => {compiler.process(clause, **kw)})" for clause in element.clauses)
    return f"date_trunc('milliseconds', clock_timestamp(){seconds})"


class Database:
    """Sessions on one database. Only `read()` and `write()` begin and end transactions."""

    def __init__(
        self,
        url: str,
        announce: Callable[[Sequence[WakeUp]], None] | None = None,
        bounds: Bounds = NO_BOUNDS,
        limits: Limits = Limits(),
    ) -> None:
        """Connect to the database at a URL.

        Args:
            announce: called after a commit with the wake-ups of the jobs that the transaction queued.
            bounds: the default bounds of owners, which sessions carry.
        """
        self.engine = _make_engine(url, limits)
        self.announce = announce
        self.bounds = bounds
        # On SQLite, a reader that becomes a writer can deadlock, so transactions declare at their start if they write.
        self._writer = self.engine.execution_options(writes=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a read-only session. PostgreSQL refuses writes; on SQLite, the transaction is rolled back at the end.

        On PostgreSQL, its statements run without a transaction, which saves BEGIN and ROLLBACK. Under READ COMMITTED,
        each statement would see the newest rows anyway.
        """
        with translate_errors(), Session(self.engine, autoflush=False, info={BOUNDS: self.bounds}) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that commits at the end of the block, or rolls back if the block raises.

        Loaded objects do not reflect later UPDATE and DELETE statements.
        """
        about: dict[str, Any] = {"info": {BOUNDS: self.bounds}, "execution_options": {"synchronize_session": False}}
        with translate_errors(), Session(self._writer, expire_on_commit=False, **about) as session, session.begin():
            yield session
        if self.announce is not None and (wake_ups := session.info.get(NOTED)):
            try:
                self.announce(wake_ups)
            except Exception:
                # The transaction is committed; a reconciler repeats the announcement.
                log.exception("wake_ups_not_published", wake_ups=len(wake_ups))

    def write_in_pieces(self, write_next: Callable[[Session, str], str | None]) -> None:
        """Write many rows in several transactions, between which other writers have their turn.

        Args:
            write_next: writes the rows that come next after the id it gets, at first "". Returns the last id that it
                has written, or None if no rows are left.
        """
        after: str | None = ""
        while after is not None:
            with self.write() as session:
                after = write_next(session, after)
            if after is not None:
                time.sleep(PAUSE_BETWEEN_PIECES_S)

    def watch(self) -> "ChangeWatch":
        """Watch for writes by any process."""
        return ChangeWatch(self.engine.url.database if self.engine.dialect.name == "sqlite" else None)

    def dispose(self) -> None:
        self.engine.dispose()


class ChangeWatch:
    """Detects changes of an SQLite file within microseconds; an empty poll takes a hundred times as long.

    Not thread-safe. On other databases, every check reports a possible change.
    """

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None

    def may_have_changed(self) -> bool:
        """Return whether any process, including this one, may have committed something since the last check."""
        if self._file is None:
            return True
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._file, isolation_level=None)
            # This connection never writes, so its data_version counts the commits of all others.
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return True
        before, self._version = self._version, int(version)
        return before != self._version

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise DatabaseUnavailable if the database does not answer, is locked, or lacks its tables."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable from error
    except DBAPIError as error:
        if _is_database_at_fault(error):
            raise DatabaseUnavailable from error
        raise


def _is_database_at_fault(error: DBAPIError) -> bool:
    """Return whether the database caused the error, and not the statement."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        # The driver also raises OperationalError for invalid statements. The primary code distinguishes them.
        return code & 0xFF not in SQLITE_STATEMENT_FAULTS or "no such table" in str(error.orig)
    is_table_missing = type(error.orig).__name__ == "UndefinedTable"
    return isinstance(error, OperationalError) or error.connection_invalidated or is_table_missing


def _make_engine(url: str, limits: Limits) -> Engine:
    parsed = make_url(url)
    pool: dict[str, Any] = {
        "pool_size": limits.pool_size,
        "max_overflow": limits.pool_overflow,
        "pool_timeout": limits.pool_timeout_s,
    }
    if parsed.get_backend_name() == "sqlite":
        _keep_private(parsed.database)
        engine = create_engine(
            parsed,
            connect_args={"timeout": limits.sqlite_busy_ms / 1000, "check_same_thread": False},
            **pool,
        )
        event.listen(engine, "connect", partial(_set_up_sqlite, limits.sqlite_busy_ms))
        event.listen(engine, "begin", partial(_begin, "BEGIN IMMEDIATE", "BEGIN"))
        return engine
    engine = create_engine(
        parsed,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "tcp_user_timeout": LINK_DEAD_AFTER_S * 1000,
            **KEEPALIVES,
            "options": f"-c statement_timeout={limits.statement_timeout_ms} "
            f"-c idle_in_transaction_session_timeout={limits.idle_in_transaction_ms} "
            "-c default_transaction_read_only=on "
            + " ".join(f"-c tcp_{name}={value}" for name, value in KEEPALIVES.items()),
        },
        **pool,
    )
    event.listen(engine, "connect", _set_up_postgresql)
    event.listen(engine, "begin", partial(_begin, "BEGIN READ WRITE", None))
    event.listen(engine, "checkin", _note_idle)
    event.listen(engine, "checkout", partial(_ping_if_idle, engine.dialect, limits.ping_after_s))
    return engine


def _keep_private(file: str | None) -> None:
    """Make the database readable only by its owner, whatever its folder and the umask allow.

    SQLite creates its auxiliary files with the same mode.
    """
    if not file or file == ":memory:" or file.startswith("file:"):
        return
    with suppress(OSError):  # no folder yet, or another user's file: SQLite reports it when opening the file
        # Only a new file is opened here, because closing a file releases this process's SQLite locks on it.
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        for path in (file, f"{file}-wal", f"{file}-shm"):
            if os.path.exists(path) and os.stat(path).st_mode & 0o077:
                os.chmod(path, 0o600)


def _note_idle(connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()


def _ping_if_idle(
    dialect: Dialect, ping_after_s: float, connection: Any, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
) -> None:
    """Ping connections that were idle, so that a restarted server does not cause failed requests."""
    if time.monotonic() - record.info.get("idle_since", time.monotonic()) < ping_after_s:
        return
    try:
        dialect.do_ping(connection)
    except Exception as error:
        # Makes the pool reconnect.
        raise DisconnectionError from error


# The drivers must not begin transactions themselves, because `_begin` chooses the kind of transaction.
def _set_up_postgresql(connection: Any, record: Any) -> None:
    connection.autocommit = True


def _set_up_sqlite(busy_ms: int, connection: Any, record: Any) -> None:
    connection.isolation_level = None
    _write_ahead(busy_ms, connection)
    for pragma in (
        "synchronous=FULL",  # whatever was answered with 201 survives a power cut
        f"busy_timeout={busy_ms}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(busy_ms: int, connection: Any) -> None:
    """Enable WAL, so that readers do not wait for the writer. Retries while another process does the same."""
    ends = time.monotonic() + busy_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(0.01)


def _begin(to_write: str, to_read: str | None, connection: Connection) -> None:
    statement = to_write if connection.get_execution_options().get("writes", False) else to_read
    if statement is not None:
        connection.exec_driver_sql(statement)
