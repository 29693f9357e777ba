"""Claims on PostgreSQL: a second by 1, 2, 4 and 8 workers that compete, and how long one takes in a long queue."""

import tempfile
import threading
import time
from pathlib import Path
from statistics import median, quantiles

from sqlalchemy import text

from heldout.settings import driver_url
from heldout.spec import JobSpec
from host.postgres import PostgresServer
from models import bundled
from models.blobs import Blobs
from models.database import Database
from models.migrations import upgrade
from models.store import claims
from models.submit import submit
from models.tables import JobRow

QUEUED = 800
MAX_PARAMETERS = 10_000_000
WORKERS = (1, 2, 4, 8)
MANY_QUEUED, MANY_OWNERS = 100_000, 1_000
COPIED_AT_ONCE = 5_000
SINGLE_CLAIMS = 200


def main() -> None:
    """Print claims a second for each number of workers; each claims until nothing waits."""
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder, PostgresServer(Path(folder, "pg")) as server:
        database = Database(driver_url(server.url))
        upgrade(database)
        bundled.register(database, Blobs(Path(folder, "blobs").as_uri()), Path(folder))
        print(f"{'workers':>8} {'claims/s':>9}   ({QUEUED} queued jobs, threads of one process)")
        for workers in WORKERS:
            _fill(database)
            began = time.perf_counter()
            threads = [threading.Thread(target=_claim_all, args=(database, f"w{n}")) for n in range(workers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(f"{workers:>8} {QUEUED / (time.perf_counter() - began):>9.0f}")
        _measure_long_queue(database)
        database.dispose()


def _measure_long_queue(database: Database) -> None:
    """Print how long it takes to find, and to make, single claims among many jobs of many owners."""
    _fill(database, 1)
    columns = {column.name: column.name for column in JobRow.__table__.columns}
    columns |= {"id": "id || '-' || n", "owner": f"'owner ' || n % {MANY_OWNERS}", "priority": "n % 7"}
    for first in range(0, MANY_QUEUED, COPIED_AT_ONCE):
        rows = f"jobs AS j, generate_series({first + 1}, {first + COPIED_AT_ONCE}) AS n WHERE j.id NOT LIKE '%-%'"
        with database.write() as session:
            copy = f"INSERT INTO jobs ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM {rows}"
            session.execute(text(copy))
    with database.write() as session:
        session.execute(
            text("INSERT INTO owners (owner) SELECT DISTINCT owner FROM jobs ON CONFLICT (owner) DO NOTHING")
        )
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
    found_ms, claimed_ms = [], []
    for number in range(SINGLE_CLAIMS):
        began = time.perf_counter()
        with database.read() as session:
            claims.claimable(session, ("auto", "cpu"))
        found_ms.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        with database.write() as session:
            claims.claim(session, f"w{number}", ("auto", "cpu"), 60)
        claimed_ms.append(1000 * (time.perf_counter() - began))
    print(f"\n{MANY_QUEUED:,} queued jobs of {MANY_OWNERS:,} owners, one worker: p50 and p99 in milliseconds")
    for what, times_ms in (("is there one", found_ms), ("claim, commit included", claimed_ms)):
        print(f"{what:>24} {median(times_ms):>7.1f} {quantiles(times_ms, n=100)[98]:>7.1f}")


def _fill(database: Database, jobs: int = QUEUED) -> None:
    spec = JobSpec.model_validate({"dataset": "digits", "network": {"blocks": [{"filters": 32}]}})
    with database.write() as session:
        session.execute(text("DELETE FROM jobs"))
        for _ in range(jobs):
            submit(session, Blobs("memory:///"), "bench", spec, max_parameters=MAX_PARAMETERS)


def _claim_all(database: Database, worker: str) -> None:
    while True:
        with database.write() as session:
            if claims.claim(session, worker, ("auto", "cpu"), 60) is None:
                return


if __name__ == "__main__":
    main()
