"""Claims a second on PostgreSQL by 1, 2, 4 and 8 workers that compete for the same queue."""

import tempfile
import threading
import time
from pathlib import Path

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

QUEUED = 800
MAX_PARAMETERS = 10_000_000
WORKERS = (1, 2, 4, 8)


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
        database.dispose()


def _fill(database: Database) -> None:
    spec = JobSpec.model_validate({"dataset": "digits", "network": {"blocks": [{"filters": 32}]}})
    with database.write() as session:
        session.execute(text("DELETE FROM jobs"))
        for _ in range(QUEUED):
            submit(session, Blobs("memory:///"), "bench", spec, max_parameters=MAX_PARAMETERS)


def _claim_all(database: Database, worker: str) -> None:
    while True:
        with database.write() as session:
            if claims.claim(session, worker, ("auto", "cpu"), 60) is None:
                return


if __name__ == "__main__":
    main()
