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

from heldout.access.quotas import NO_BOUNDS, Bounds
from heldout.errors import DatabaseUnavailable
from models.wake import WakeUp, get_noted

log = structlog.get_logger()

# Session is ours to give: other rooms name the type from here and never make one.
__all__ = ["Database", "Limits", "Session", "UtcTime", "db_now", "translate_errors"]

# Where a session carries what the settings let an owner take.
BOUNDS = "bounds"
SQLITE_STATEMENT_FAULTS = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
}
CONNECT_TIMEOUT_S = 5
# A link that is cut answers nothing; without these the kernel waits for it for a quarter of an hour.
LINK_DEAD_AFTER_S = 20
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2}


@dataclass(frozen=True)
class Limits:
    """How many connections one process has, and how long it waits.

    Attributes:
        pool_size, pool_overflow: PostgreSQL allows 100 by default; an API and a worker take at most 2 × 20.
        ping_after_s: of a connection that was idle. A server takes longer to be restarted.
        sqlite_busy_ms: how long a SQLite writer waits for another one before it gives up.
        idle_in_transaction_ms: a process that is stopped inside a transaction holds its rows no longer.
    """

    pool_size: int = 10
    pool_overflow: int = 10
    pool_timeout_s: float = 5
    ping_after_s: float = 0.5
    sqlite_busy_ms: int = 5_000
    statement_timeout_ms: int = 10_000
    idle_in_transaction_ms: int = 15_000


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC, to the millisecond: timestamptz on PostgreSQL, ISO text on SQLite (which sorts as time does)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return String(24) if dialect.name == "sqlite" else DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; give one, such as datetime.UTC.")
        moment = value.astimezone(UTC)
        if dialect.name == "sqlite":
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return value.astimezone(UTC) if value is not None else None


class db_now(FunctionElement[datetime]):  # noqa: N801  (reads as the SQL function that it is)
    """The database's clock, now or some seconds from now: `db_now()`, `db_now(60)`, `db_now(column)`."""

    type = UtcTime()
    inherit_cache = True
    name = "db_now"


@compiles(db_now, "sqlite")
def _compile_sqlite_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    seconds = "".join(f", ({compiler.process(clause, **kw)}) || ' seconds'" for clause in element.clauses)
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', 'now'{seconds})"


@compiles(db_now, "postgresql")
def _compile_postgresql_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    # clock_timestamp() moves within a transaction, as SQLite's clock does; rounded to what SQLite keeps.
    seconds = "".join(f" + make_interval(secs => {compiler.process(clause, **kw)})" for clause in element.clauses)
    return f"date_trunc('milliseconds', clock_timestamp(){seconds})"


class Database:
    """Sessions on one database. `read()` and `write()` are the only places that begin and end transactions."""

    def __init__(
        self,
        url: str,
        announce: Callable[[Sequence[WakeUp]], None] | None = None,
        bounds: Bounds = NO_BOUNDS,
        limits: Limits = Limits(),
    ) -> None:
        """The database at a URL.

        Args:
            announce: is given the wake-ups of the jobs that a transaction has queued, once it has committed.
            bounds: what an owner may take where nothing else was set for it; sessions carry them.
        """
        self.engine = _make_engine(url, limits)
        self.announce = announce
        self.bounds = bounds
        # SQLite deadlocks when a reader becomes a writer; a transaction that may write says so from its start.
        self._writer = self.engine.execution_options(writes=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that must not write: PostgreSQL refuses it, on SQLite the transaction is rolled back at the end.

        On PostgreSQL its statements stand alone, which saves BEGIN and ROLLBACK; under READ COMMITTED each of them
        sees the newest rows in a transaction as well.
        """
        with translate_errors(), Session(self.engine, autoflush=False, info={BOUNDS: self.bounds}) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that is committed when the block ends well and rolled back otherwise.

        Objects that it has loaded do not follow its UPDATE and DELETE statements.
        """
        about: dict[str, Any] = {"info": {BOUNDS: self.bounds}, "execution_options": {"synchronize_session": False}}
        with translate_errors(), Session(self._writer, expire_on_commit=False, **about) as session, session.begin():
            yield session
        if self.announce is not None and (wake_ups := get_noted(session)):
            try:
                self.announce(wake_ups)
            except Exception:
                # What was written is committed; a reconciler announces it again.
                log.exception("wake_ups_not_published", wake_ups=len(wake_ups))

    def watch(self) -> "ChangeWatch":
        """Tells whether anybody has written since it was last asked."""
        return ChangeWatch(self.engine.url.database if self.engine.dialect.name == "sqlite" else None)

    def dispose(self) -> None:
        self.engine.dispose()


class ChangeWatch:
    """Whether a SQLite file has changed, for some microseconds a look: a poll that finds nothing costs a hundred times
    as much. For one thread. On other databases every look says that there may be something new.
    """

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None

    def may_have_changed(self) -> bool:
        """Whether anybody, this process included, may have committed something since the last look."""
        if self._file is None:
            return True
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._file, isolation_level=None)
            # Of this connection, which never writes: it counts what all others have committed.
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
    """Turn a database that does not answer, is locked or lacks its tables into DatabaseUnavailable."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable from error
    except DBAPIError as error:
        if _is_database_at_fault(error):
            raise DatabaseUnavailable from error
        raise


def _is_database_at_fault(error: DBAPIError) -> bool:
    """Whether the database is what is wrong, and not the statement."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        # The driver calls a wrong statement an OperationalError as well; the primary code tells them apart.
        return code & 0xFF not in SQLITE_STATEMENT_FAULTS or "no such table" in str(error.orig)
    return isinstance(error, OperationalError) or error.connection_invalidated or _is_table_missing(error)


def _is_table_missing(error: DBAPIError) -> bool:
    return type(error.orig).__name__ == "UndefinedTable"


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
    """Let nobody but its owner read the database, whatever its folder and the umask allow.

    SQLite gives the files beside it the same mode.
    """
    if not file or file == ":memory:" or file.startswith("file:"):
        return
    with suppress(OSError):  # no folder yet, or another user's file: SQLite says what is wrong when it is opened
        # Only a new file is opened: to close one would end the locks that this process holds on it through SQLite.
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
    """A server that was restarted costs a ping and no failed request; one that was just spoken to is not asked."""
    if time.monotonic() - record.info.get("idle_since", time.monotonic()) < ping_after_s:
        return
    try:
        dialect.do_ping(connection)
    except Exception as error:
        # The pool connects anew.
        raise DisconnectionError from error


# The drivers must not begin transactions by themselves: `_begin` does, and chooses the kind.
def _set_up_postgresql(connection: Any, record: Any) -> None:
    connection.autocommit = True


def _set_up_sqlite(busy_ms: int, connection: Any, record: Any) -> None:
    connection.isolation_level = None
    _write_ahead(busy_ms, connection)
    for pragma in (
        "synchronous=FULL",  # what was answered 201 survives a power cut
        f"busy_timeout={busy_ms}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(busy_ms: int, connection: Any) -> None:
    """Let readers not wait for the writer. Of those that switch a new file at once SQLite lets all but one fail."""
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
