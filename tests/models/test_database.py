"""Engines and sessions: one clock, one kind of time, and a database that goes away and comes back."""

import contextlib
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import func, insert, make_url, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError

from heldout.errors import DatabaseUnavailable, LeaseLost
from heldout.lifecycle.job import JobStatus
from models.database import Database, Limits, db_now
from models.migrations import require_revision
from models.store import claims
from models.tables import JobRow, KeyRow
from tests.models.work import Work
from tests.servers import PostgresServer

# --- time ----------------------------------------------------------------------------------------


def moment(database: Database, *offset: object) -> datetime:
    with database.read() as session:
        return session.scalar(select(db_now(*offset)))


def test_the_databases_clock_is_a_moment_in_utc(database):
    before = datetime.now(UTC)
    now = moment(database)
    assert now.tzinfo is UTC
    assert abs(now - before) < timedelta(seconds=5)


@pytest.mark.parametrize("seconds", [0, 1, -1, 0.05, -0.05, 0.0001, 60, 86_400, -3600.5, 604_800, 1e-7])
def test_seconds_are_added_to_the_clock(database, seconds):
    with database.read() as session:
        now, then = session.execute(select(db_now(), db_now(seconds))).one()
    assert abs(then - now - timedelta(seconds=seconds)) <= timedelta(milliseconds=2)


def test_a_columns_seconds_can_be_added(work):
    job_id = work.submit()
    work.set(job_id, runtime_s=90.5)
    with work.database.read() as session:
        now, then = session.execute(select(db_now(), db_now(JobRow.runtime_s)).where(JobRow.id == job_id)).one()
    assert abs(then - now - timedelta(seconds=90.5)) <= timedelta(milliseconds=2)


def test_the_clock_continues_within_a_transaction(database):
    with database.write() as session:
        first = session.scalar(select(db_now()))
        deadline = time.monotonic() + 60
        while session.scalar(select(db_now())) == first and time.monotonic() < deadline:
            pass
        assert session.scalar(select(db_now())) > first


MOMENTS = [
    datetime(2026, 3, 1, 12, 30, 15, 250_000, UTC),
    datetime(2026, 3, 1, 0, 0, tzinfo=UTC),
    datetime(2026, 3, 1, 23, 59, 59, 999_000, timezone(timedelta(hours=-9, minutes=-30))),
    datetime(2026, 3, 1, 12, 30, 15, 123_456, timezone(timedelta(hours=5, minutes=45))),
    datetime(2026, 10, 25, 1, 30, 0, 999_999, UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
]


def stored(database: Database, when: datetime) -> datetime:
    with database.write() as session:
        session.execute(insert(KeyRow).values(id="k", owner="o", secret_sha256="0", created_at=when))
    with database.read() as session:
        found = session.scalar(select(KeyRow.created_at).where(KeyRow.id == "k"))
        assert session.scalar(select(KeyRow.id).where(KeyRow.created_at == when)) == "k"
        assert session.scalar(select(KeyRow.id).where(KeyRow.created_at < when)) is None
    return found


@pytest.mark.parametrize("when", MOMENTS, ids=str)
def test_a_moment_comes_back_in_utc_to_the_millisecond(database, when):
    found = stored(database, when)
    assert found == when.replace(microsecond=when.microsecond // 1000 * 1000)
    assert found.tzinfo is UTC


def test_a_moment_without_a_zone_is_refused(database):
    with pytest.raises(Exception, match="time zone"):
        stored(database, datetime(2026, 3, 1))


def test_moments_sort_as_time_does(database):
    with database.write() as session:
        for number, when in enumerate(MOMENTS):
            session.execute(insert(KeyRow).values(id=str(number), owner="o", secret_sha256="0", created_at=when))
    with database.read() as session:
        found = session.scalars(select(KeyRow.created_at).order_by(KeyRow.created_at)).all()
    assert found == sorted(found)
    assert len(found) == len(MOMENTS)


# --- transactions --------------------------------------------------------------------------------


def count(database: Database) -> int | None:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(KeyRow))


def add_key(session, key_id: str = "k") -> None:
    session.execute(insert(KeyRow).values(id=key_id, owner="o", secret_sha256="0", created_at=db_now()))


def test_a_write_is_kept_when_its_block_ends_well(database):
    with database.write() as session:
        add_key(session)
    assert count(database) == 1


def test_a_write_is_undone_when_its_block_breaks(database):
    def broken() -> None:
        with database.write() as session:
            add_key(session)
            raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        broken()
    assert count(database) == 0


def test_a_reading_session_leaves_nothing_behind(database):
    # PostgreSQL refuses it at once, SQLite undoes it.
    with contextlib.suppress(InternalError), database.read() as session:
        add_key(session)
    assert count(database) == 0


def test_what_is_not_committed_is_not_seen(database):
    with database.write() as session:
        add_key(session)
        assert count(database) == 0


def test_an_error_in_a_statement_is_not_taken_for_an_absent_database(database):
    for wrong in ("SELECT no_such_column FROM jobs", "SELEKT 1"):
        with pytest.raises(DBAPIError), database.read() as session:
            session.execute(text(wrong))
    with database.write() as session:
        add_key(session)
    with pytest.raises(IntegrityError), database.write() as session:
        add_key(session)


# --- a database that does not answer -------------------------------------------------------------


# Waits are short where a test only asks whether they end.
SHORT = Limits(sqlite_busy_ms=50, pool_timeout_s=0.05)


@pytest.fixture
def reopened(database_url) -> Iterator[Database]:
    opened = Database(database_url, limits=SHORT)
    yield opened
    opened.dispose()


def test_a_database_without_tables_does_not_serve(empty_database_url):
    database = Database(empty_database_url)
    with pytest.raises(DatabaseUnavailable), database.read() as session:
        require_revision(session)
    database.dispose()


def test_a_migrated_database_serves(database):
    with database.read() as session:
        require_revision(session)


def test_a_sqlite_file_that_another_writer_locks_is_unavailable_for_writers_until_it_is_free(sqlite_url):
    database = Database(sqlite_url, limits=SHORT)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable), database.write() as session:
        add_key(session)
    assert count(database) == 0  # readers do not wait for it
    other.execute("ROLLBACK")
    other.close()
    with database.write() as session:
        add_key(session)
    assert count(database) == 1
    database.dispose()


def test_a_reader_does_not_hold_up_a_writer(sqlite_url):
    database = Database(sqlite_url)
    with database.read() as reader:
        assert reader.scalar(select(func.count()).select_from(KeyRow)) == 0
        with database.write() as session:
            add_key(session)
        assert reader.scalar(select(func.count()).select_from(KeyRow)) == 0
    assert count(database) == 1
    database.dispose()


def test_a_sqlite_file_that_cannot_be_opened_is_unavailable(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'heldout.db'}")
    with pytest.raises(DatabaseUnavailable), database.read() as session:
        require_revision(session)


def test_a_file_that_is_no_database_is_unavailable(tmp_path):
    file = tmp_path / "heldout.db"
    file.write_bytes(b"not a database at all" * 100)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(DatabaseUnavailable), database.read() as session:
        require_revision(session)
    assert file.read_bytes().startswith(b"not a database")
    database.dispose()


def test_all_who_find_a_new_sqlite_file_at_once_can_use_it(tmp_path):
    """SQLite does not wait for the switch to a write-ahead log.

    without care some connections fail because it is locked.
    """
    rounds, together = 100, 8
    ready = threading.Barrier(together)

    def opens(path: Path) -> str:
        database = Database(f"sqlite:///{path}")
        ready.wait()
        try:
            with database.write() as session:
                session.execute(text("CREATE TABLE IF NOT EXISTS made (number)"))
                return str(session.scalar(text("PRAGMA journal_mode")))
        finally:
            database.dispose()

    with ThreadPoolExecutor(together) as pool:
        for number in range(rounds):
            assert set(pool.map(opens, [tmp_path / f"{number}.db"] * together)) == {"wal"}


def test_sqlite_is_set_up_to_keep_what_it_acknowledged(sqlite_url):
    database = Database(sqlite_url)
    with database.read() as session:
        pragmas = {
            name: session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.dispose()


def test_more_sessions_than_connections_are_told_so(database_url):
    database = Database(database_url, limits=replace(SHORT, pool_size=1, pool_overflow=0))
    with database.read() as session:
        session.execute(select(KeyRow.id))
        with pytest.raises(DatabaseUnavailable):
            count(database)
    assert count(database) == 0
    database.dispose()


def test_a_port_on_which_nothing_listens_is_unavailable():
    database = Database("postgresql+psycopg://nobody:secret@127.0.0.1:1/heldout")
    with pytest.raises(DatabaseUnavailable) as caught, database.read() as session:
        require_revision(session)
    assert "secret" not in str(caught.value)


def test_a_wrong_password_is_unavailable_and_not_shown(fresh_postgres_url):
    url = make_url(fresh_postgres_url).set(password="wrong-password", host="127.0.0.1")
    database = Database(url.render_as_string(hide_password=False))
    with pytest.raises(DatabaseUnavailable) as caught, database.read() as session:
        require_revision(session)
    assert "wrong-password" not in str(caught.value)


@pytest.fixture
def own_server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """This run's server, running again afterwards whatever the test did to it."""
    yield postgres_server
    postgres_server.resume()
    postgres_server.start()


def one(database: Database) -> object:
    with database.read() as session:
        return session.scalar(text("SELECT 1"))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_postgresql_that_went_away_is_unavailable_and_serves_at_once_when_it_is_back(own_server, end):
    database = Database(own_server.url)
    with contextlib.ExitStack() as sessions:
        for _ in range(3):  # connections that will be dead in the pool
            sessions.enter_context(database.read()).execute(text("SELECT 1"))
    getattr(own_server, end)()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            one(database)
    own_server.start()
    for _ in range(5):
        assert one(database) == 1
    database.dispose()


def test_a_postgresql_that_goes_away_inside_a_transaction_is_unavailable_and_the_next_one_works(own_server):
    database = Database(own_server.url)

    def interrupted() -> None:
        with database.write() as session:
            session.execute(text("SELECT 1"))
            own_server.kill()
            session.execute(text("SELECT 2"))

    with pytest.raises(DatabaseUnavailable):
        interrupted()

    own_server.start()
    assert one(database) == 1
    database.dispose()


def test_a_postgresql_that_goes_away_before_the_commit_is_unavailable(own_server):
    database = Database(own_server.url)

    def interrupted() -> None:
        with database.write() as session:
            session.execute(text("CREATE TABLE never (id int)"))
            own_server.kill()

    with pytest.raises(DatabaseUnavailable):
        interrupted()

    own_server.start()
    with database.read() as session:
        assert session.scalar(text("SELECT to_regclass('never')")) is None
    database.dispose()


def test_a_worker_that_stalls_inside_a_transaction_loses_its_lock_and_then_its_job(fresh_postgres_url):
    """Stopped between two statements, it would hold the job's row forever, and the job could not be taken back."""
    work = Work(Database(fresh_postgres_url))
    held = work.running(lease_s=-1)
    stalled = Database(fresh_postgres_url, limits=Limits(idle_in_transaction_ms=200))

    def stall() -> None:
        with stalled.write() as session:
            claims.require_held(session, held)
            deadline = time.monotonic() + 60
            taken: list[object] = []
            while not taken and time.monotonic() < deadline:
                with work.database.write() as reconciler:
                    taken = claims.recover_expired_leases(reconciler)
            assert taken == [(held.job_id, JobStatus.QUEUED)]
            claims.record_progress(session, held, epoch=9, eta_s=None)

    with pytest.raises(DatabaseUnavailable):
        stall()
    assert work.row(held.job_id).epoch == 0
    with pytest.raises(LeaseLost), stalled.write() as session:
        claims.require_held(session, held)
    stalled.dispose()
    work.database.dispose()


def test_a_statement_that_takes_too_long_is_ended(fresh_postgres_url):
    database = Database(fresh_postgres_url, limits=Limits(statement_timeout_ms=50))
    with pytest.raises(DatabaseUnavailable), database.read() as session:
        session.execute(text("SELECT pg_sleep(30)"))
    assert count(database) == 0
    database.dispose()


def test_threads_share_one_database(reopened):
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with reopened.write() as session:
                add_key(session, str(number))
        except DatabaseUnavailable as error:  # SQLite's writers wait in turn, and here not for long
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(reopened) == 8 - len(failures)


def test_a_change_is_seen_by_another_process_connection(database_url):
    first, second = Database(database_url), Database(database_url)
    with first.write() as session:
        add_key(session)
    with second.write() as session:
        session.execute(update(KeyRow).values(owner="another"))
    with first.read() as session:
        assert session.scalar(select(KeyRow.owner)) == "another"
    first.dispose()
    second.dispose()


def test_a_sqlite_database_survives_its_last_connection_and_needs_no_other_file(sqlite_url, tmp_path: Path):
    database = Database(sqlite_url)
    with database.write() as session:
        add_key(session)
    database.dispose()
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    assert not file.with_name(file.name + "-wal").exists()
    moved = file.rename(tmp_path / "moved.db")
    again = Database(f"sqlite:///{moved}")
    assert count(again) == 1
    again.dispose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_that_was_cut_while_it_was_idle_costs_no_failed_query(database_url):
    """As after a restart of the server: what lies in the pool is dead, and the next query does not see it."""
    database = Database(database_url, limits=Limits(ping_after_s=0.0))  # in place of a pause
    with database.read() as session:
        mine = session.scalar(text("SELECT pg_backend_pid()"))
    other = Database(database.engine.url.render_as_string(hide_password=False))
    with other.write() as session:
        assert session.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": mine})
    other.dispose()
    with database.read() as session:
        assert session.scalar(text("SELECT pg_backend_pid()")) != mine
    database.dispose()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_whether_anybody_has_written_is_known_without_a_query(database, sqlite_url):
    other, watch = Database(sqlite_url), database.watch()
    assert watch.may_have_changed()  # what was there before the first look
    assert not watch.may_have_changed()
    with database.read() as session:
        session.scalars(select(KeyRow)).all()
    assert not watch.may_have_changed()
    for name, writer in (("own", database), ("other", other)):
        with writer.write() as session:
            add_key(session, name)
        assert watch.may_have_changed()
        assert not watch.may_have_changed()
    watch.close()
    other.dispose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_where_only_a_query_tells_there_may_always_be_something_new(database):
    watch = database.watch()
    assert all(watch.may_have_changed() for _ in range(3))
    watch.close()


# --- who can read it -----------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, 0o644], ids=["new", "of an earlier release"])
def test_a_sqlite_file_is_readable_by_its_owner_alone_whatever_its_folder_allows(tmp_path, before):
    tmp_path.chmod(0o777)
    file = tmp_path / "heldout.db"
    if before is not None:
        file.touch()
        file.chmod(before)
    umask = os.umask(0)
    try:
        database = Database(f"sqlite:///{file}")
        with database.write() as session:
            session.execute(text("CREATE TABLE things (id INTEGER)"))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        database.dispose()
    finally:
        os.umask(umask)
    assert modes == {"heldout.db": 0o600, "heldout.db-wal": 0o600, "heldout.db-shm": 0o600}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_another_database_object_on_the_same_file_leaves_the_locks_of_this_process(database, sqlite_url):
    """Where a process closes a file, POSIX ends all locks that it holds on it, those of SQLite too."""
    file = make_url(sqlite_url).database
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT count(*) FROM sqlite_master").fetchone()
        before = locks_on(file)
        assert before > 0
        Database(sqlite_url).dispose()
        assert locks_on(file) == before


def locks_on(file: str) -> int:
    """Locks that this process holds on a file."""
    inode = os.stat(file).st_ino
    lines = Path("/proc/locks").read_text().splitlines()
    return sum(f" {os.getpid()} " in line and f":{inode} " in line for line in lines)
