"""Engines and sessions: one clock, one kind of time, and databases that go away and come back."""

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
from sqlalchemy import delete, func, insert, make_url, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError

from heldout.errors import DatabaseUnavailable, LeaseLost
from heldout.lifecycle.job import JobStatus
from models.database import Database, Limits, db_now
from models.migrations import require_revision
from models.store import claims
from models.tables import JobRow, KeyRow
from tests.fast_databases import make_durable_engine
from tests.models.work import Work
from tests.servers import PostgresServer

# --- time ----------------------------------------------------------------------------------------


def moment(database: Database, *offset: object) -> datetime:
    with database.read() as session:
        return session.scalar(select(db_now(*offset)))


def test_the_databases_clock_gives_utc(database):
    before = datetime.now(UTC)
    now = moment(database)
    assert now.tzinfo is UTC
    assert abs(now - before) < timedelta(seconds=5)


def test_seconds_are_added_to_the_clock(database):
    for seconds in (0, 1, -1, 0.05, -0.05, 0.0001, 60, 86_400, -3600.5, 604_800, 1e-7):
        with database.read() as session:
            now, then = session.execute(select(db_now(), db_now(seconds))).one()
        assert abs(then - now - timedelta(seconds=seconds)) <= timedelta(milliseconds=2), seconds


def test_the_seconds_of_a_column_are_added_to_the_clock(work):
    job_id = work.submit()
    work.set(job_id, runtime_s=90.5)
    with work.database.read() as session:
        now, then = session.execute(select(db_now(), db_now(JobRow.runtime_s)).where(JobRow.id == job_id)).one()
    assert abs(then - now - timedelta(seconds=90.5)) <= timedelta(milliseconds=2)


def test_the_clock_advances_within_a_transaction(database):
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


def add_key(session, key_id: str = "k", when: object = None) -> None:
    values = {"owner": "o", "secret_sha256": "0", "created_at": db_now() if when is None else when}
    session.execute(insert(KeyRow).values(id=key_id, **values))


def test_times_are_stored_in_utc_to_the_millisecond(database):
    for when in MOMENTS:
        with database.write() as session:
            session.execute(delete(KeyRow))
            add_key(session, when=when)
        with database.read() as session:
            found = session.scalar(select(KeyRow.created_at))
            assert session.scalar(select(KeyRow.id).where(KeyRow.created_at == when)) == "k"
            assert session.scalar(select(KeyRow.id).where(KeyRow.created_at < when)) is None
        assert found == when.replace(microsecond=when.microsecond // 1000 * 1000)
        assert found.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(database):
    with pytest.raises(Exception, match="time zone"), database.write() as session:
        add_key(session, when=datetime(2026, 3, 1))


def test_times_are_sorted_chronologically(database):
    with database.write() as session:
        for number, when in enumerate(MOMENTS):
            add_key(session, str(number), when)
    with database.read() as session:
        found = session.scalars(select(KeyRow.created_at).order_by(KeyRow.created_at)).all()
    assert found == sorted(found)
    assert len(found) == len(MOMENTS)


# --- transactions --------------------------------------------------------------------------------


def count(database: Database) -> int | None:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(KeyRow))


def test_a_write_is_committed_at_the_end_of_its_block(database):
    with database.write() as session:
        add_key(session)
    assert count(database) == 1


def test_a_write_is_rolled_back_if_its_block_raises(database):
    def broken() -> None:
        with database.write() as session:
            add_key(session)
            raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        broken()
    assert count(database) == 0


def test_a_reading_session_writes_nothing(database):
    # PostgreSQL refuses the write, SQLite rolls it back.
    with contextlib.suppress(InternalError), database.read() as session:
        add_key(session)
    assert count(database) == 0


def test_uncommitted_writes_are_not_visible(database):
    with database.write() as session:
        add_key(session)
        assert count(database) == 0


def test_an_error_in_a_statement_does_not_count_as_an_unavailable_database(database):
    for wrong in ("SELECT no_such_column FROM jobs", "SELEKT 1"):
        with pytest.raises(DBAPIError), database.read() as session:
            session.execute(text(wrong))
    with database.write() as session:
        add_key(session)
    with pytest.raises(IntegrityError), database.write() as session:
        add_key(session)


# --- a database that does not respond -------------------------------------------------------------


# Short waits for tests that only check that waits end.
SHORT = Limits(sqlite_busy_ms=50, pool_timeout_s=0.05)


@pytest.fixture
def reopened(database_url) -> Iterator[Database]:
    opened = Database(database_url, limits=SHORT)
    yield opened
    opened.dispose()


def test_a_database_without_tables_is_unavailable(empty_database_url):
    database = Database(empty_database_url)
    with pytest.raises(DatabaseUnavailable), database.read() as session:
        require_revision(session)
    database.dispose()


def test_a_migrated_database_is_available(database):
    with database.read() as session:
        require_revision(session)


def test_a_locked_sqlite_file_is_unavailable_for_writers_until_it_is_free(sqlite_url):
    database = Database(sqlite_url, limits=SHORT)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable), database.write() as session:
        add_key(session)
    assert count(database) == 0  # readers do not wait
    other.execute("ROLLBACK")
    other.close()
    with database.write() as session:
        add_key(session)
    assert count(database) == 1
    database.dispose()


def test_a_reader_does_not_delay_a_writer(sqlite_url):
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


def test_a_file_that_is_not_a_database_is_unavailable(tmp_path):
    file = tmp_path / "heldout.db"
    file.write_bytes(b"not a database at all" * 100)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(DatabaseUnavailable), database.read() as session:
        require_revision(session)
    assert file.read_bytes().startswith(b"not a database")
    database.dispose()


def test_concurrent_openers_of_a_new_sqlite_file_can_all_use_it(tmp_path):
    """SQLite does not wait for the switch to a write-ahead log, so some connections could find the file locked."""
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


def test_sqlite_keeps_what_it_acknowledged(sqlite_url, monkeypatch):
    monkeypatch.setattr("models.database._make_engine", make_durable_engine)
    database = Database(sqlite_url)
    with database.read() as session:
        pragmas = {
            name: session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.dispose()


def test_a_session_without_a_free_connection_is_refused(database_url):
    database = Database(database_url, limits=replace(SHORT, pool_size=1, pool_overflow=0))
    with database.read() as session:
        session.execute(select(KeyRow.id))
        with pytest.raises(DatabaseUnavailable):
            count(database)
    assert count(database) == 0
    database.dispose()


def test_a_port_without_a_server_is_unavailable():
    database = Database("postgresql+psycopg://someone:secret@127.0.0.1:1/heldout")
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
    """This run's server, which runs again after the test."""
    yield postgres_server
    postgres_server.resume()
    postgres_server.start()


def select_one(database: Database) -> object:
    with database.read() as session:
        return session.scalar(text("SELECT 1"))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_postgresql_that_went_away_is_unavailable_until_it_is_back(own_server, end):
    database = Database(own_server.url)
    with contextlib.ExitStack() as sessions:
        for _ in range(3):  # the pool's connections will be dead
            sessions.enter_context(database.read()).execute(text("SELECT 1"))
    getattr(own_server, end)()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            select_one(database)
    own_server.start()
    for _ in range(5):
        assert select_one(database) == 1
    database.dispose()


def test_a_postgresql_that_goes_away_inside_a_transaction_is_unavailable_and_the_next_transaction_works(own_server):
    database = Database(own_server.url)

    def interrupted() -> None:
        with database.write() as session:
            session.execute(text("SELECT 1"))
            own_server.kill()
            session.execute(text("SELECT 2"))

    with pytest.raises(DatabaseUnavailable):
        interrupted()

    own_server.start()
    assert select_one(database) == 1
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
    """A worker stopped between two statements would hold the job's row forever, and no one could recover the job."""
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


def test_a_statement_that_takes_too_long_is_cancelled(fresh_postgres_url):
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
        except DatabaseUnavailable as error:  # SQLite's writers wait in turn, here for a short time
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(reopened) == 8 - len(failures)


def test_a_change_is_seen_by_another_connection(database_url):
    first, second = Database(database_url), Database(database_url)
    with first.write() as session:
        add_key(session)
    with second.write() as session:
        session.execute(update(KeyRow).values(owner="another"))
    with first.read() as session:
        assert session.scalar(select(KeyRow.owner)) == "another"
    first.dispose()
    second.dispose()


def test_a_closed_sqlite_database_needs_no_other_file(sqlite_url, tmp_path: Path):
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
def test_an_idle_connection_that_was_cut_fails_no_query(database_url):
    """After a restart of the server, the pool's connections are dead, but the next query succeeds."""
    database = Database(database_url, limits=Limits(ping_after_s=0.0))  # instead of a pause
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
def test_whether_someone_has_written_is_known_without_a_query(database, sqlite_url):
    other, watch = Database(sqlite_url), database.watch()
    assert watch.may_have_changed()  # there may be changes from before the first look
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
def test_a_watch_of_postgresql_always_expects_changes(database):
    watch = database.watch()
    assert all(watch.may_have_changed() for _ in range(3))
    watch.close()


# --- who can read it -----------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, 0o644], ids=["new", "of an earlier release"])
def test_a_sqlite_file_is_readable_only_by_its_owner_whatever_its_folder_allows(tmp_path, before):
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
def test_another_database_object_on_the_file_keeps_the_locks_of_this_process(database, sqlite_url):
    """If a process closes a file, POSIX releases all its locks on that file, including SQLite's."""
    file = make_url(sqlite_url).database
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT count(*) FROM sqlite_master").fetchone()
        before = locks_on(file)
        assert before > 0
        Database(sqlite_url).dispose()
        assert locks_on(file) == before


def locks_on(file: str) -> int:
    """Count the locks that this process holds on a file."""
    inode = os.stat(file).st_ino
    lines = Path("/proc/locks").read_text().splitlines()
    return sum(f" {os.getpid()} " in line and f":{inode} " in line for line in lines)
