"""Claims: how many several workers make per second on PostgreSQL, and how long one takes with a long queue on both."""

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

from sqlalchemy import text

from heldout.service.database_urls import make_driver_url
from heldout.spec.job import JobSpec
from models import bundled
from models.blobs import Blobs
from models.database import Database, Session
from models.job_creation import create_job
from models.migrations import upgrade
from models.store import claims
from models.store.claims import Capacity
from models.tables import JobRow
from tests.servers import PostgresServer

QUEUED = 800
MAX_PARAMETERS = 10_000_000
WORKERS = (1, 2, 4, 8)
MANY_QUEUED, MANY_OWNERS = 100_000, 1_000
COPIED_AT_ONCE = 5_000
SINGLE_CLAIMS = 200
NEEDED_BYTES = 2**30
CPU = ("auto", "cpu")


def main() -> None:
    """Print claims per second for each number of workers, each claiming until the queue is empty; then times in a long
    queue.
    """
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder, PostgresServer() as server:
        postgres, sqlite = (
            _database(url, Path(folder)) for url in (make_driver_url(server.url), f"sqlite:///{folder}/heldout.db")
        )
        print(f"{'workers':>8} {'claims/s':>9}   ({QUEUED} queued jobs, threads of one process)")
        for workers in WORKERS:
            _fill(postgres)
            began = time.perf_counter()
            threads = [threading.Thread(target=_claim_all, args=(postgres, f"w{n}")) for n in range(workers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(f"{workers:>8} {QUEUED / (time.perf_counter() - began):>9.0f}")
        print(f"\n{MANY_QUEUED:,} queued jobs of {MANY_OWNERS:,} owners, one worker: p50 and p99 in milliseconds")
        for database in (postgres, sqlite):
            print(database.engine.dialect.name)
            fill_long_queue(database)
            _measure_long_queue(database)
            database.dispose()


def _database(url: str, folder: Path) -> Database:
    database = Database(url)
    upgrade(database)
    bundled.register(database, Blobs(Path(folder, "blobs").as_uri()), folder)
    return database


def fill_long_queue(database: Database) -> None:
    """Fill the queue with jobs of many owners."""
    _fill(database, 1)
    columns = {column.name: column.name for column in JobRow.__table__.columns}
    owner = f"'owner ' || (n % {MANY_OWNERS})"
    columns |= {"id": "id || '-' || n", "owner": owner, "priority": "n % 7", "memory_bytes": str(NEEDED_BYTES)}
    for first in range(0, MANY_QUEUED, COPIED_AT_ONCE):
        numbers = f"SELECT {first + 1} AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {first + COPIED_AT_ONCE}"
        copy = f"SELECT {', '.join(columns.values())} FROM jobs, numbers WHERE id NOT LIKE '%-%'"
        with database.write() as session:
            insert = f"INSERT INTO jobs ({', '.join(columns)}) {copy}"
            session.execute(text(f"WITH RECURSIVE numbers AS ({numbers}) {insert}"))
    with database.write() as session:
        owners = "SELECT DISTINCT owner FROM jobs WHERE true"
        session.execute(text(f"INSERT INTO owners (owner) {owners} ON CONFLICT (owner) DO NOTHING"))
    if database.engine.dialect.name == "postgresql":  # as its autovacuum does
        with database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")


def _measure_long_queue(database: Database) -> None:
    """Print how long it takes to find and to make single claims among many jobs of many owners."""
    took_ms: dict[str, list[float]] = {"is there one": [], "is there one, none fits": [], "claim, commit included": []}

    def timed(what: str, do: Callable[[Session], object], *, writes: bool = False) -> None:
        began = time.perf_counter()
        with database.write() if writes else database.read() as session:
            do(session)
        took_ms[what].append(1000 * (time.perf_counter() - began))

    for number in range(SINGLE_CLAIMS):
        worker = f"w{number}"
        timed(
            "is there one",
            lambda session: claims.is_any_claimable(session, Capacity(CPU, memory_bytes=2 * NEEDED_BYTES)),
        )
        timed(
            "is there one, none fits",
            lambda session: claims.is_any_claimable(session, Capacity(CPU, memory_bytes=NEEDED_BYTES // 2)),
        )
        timed(
            "claim, commit included",
            lambda session: claims.claim(session, worker, Capacity(CPU, memory_bytes=2 * NEEDED_BYTES), 60),  # noqa: B023
            writes=True,
        )
    for what, times_ms in took_ms.items():
        print(f"{what:>24} {median(times_ms):>7.1f} {quantiles(times_ms, n=100)[98]:>7.1f}", flush=True)


def _fill(database: Database, jobs: int = QUEUED) -> None:
    spec = JobSpec.model_validate({"dataset": "digits", "network": {"blocks": [{"filters": 32}]}})
    with database.write() as session:
        session.execute(text("DELETE FROM jobs"))
        for _ in range(jobs):
            create_job(session, Blobs("memory:///"), "bench", spec, max_parameters=MAX_PARAMETERS)


def _claim_all(database: Database, worker: str) -> None:
    while True:
        with database.write() as session:
            if claims.claim(session, worker, Capacity(CPU), 60) is None:
                return


if __name__ == "__main__":
    main()
