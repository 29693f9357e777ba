"""Events per second of eight writers of one owner, alone and while somebody follows the owner's stream."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from benchmarks.serving import add_job, prepare
from heldout.settings import driver_url
from host.servers import PostgresServer
from models.database import Database
from models.store import events

WRITERS = 8
SECONDS = 6.0


def main() -> None:
    """Print the figures of both databases; PostgreSQL waits for the disk at each commit, as an installation does."""
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder, PostgresServer(Path(folder, "pg")) as server:
        for name, url in (("PostgreSQL", driver_url(server.url)), ("SQLite", f"sqlite:///{folder}/heldout.db")):
            database = Database(url)
            prepare(database, folder)
            print(f"{name}, {WRITERS} writers: {_events_per_s(database):7.0f} events/s")
            database.dispose()


def _events_per_s(database: Database, act: Callable[[], None] | None = None) -> float:
    ids = [add_job(database) for _ in range(WRITERS)]
    over = Event()

    def write(job_id: str) -> int:
        count = 0
        while not over.is_set():
            with database.write() as session:
                events.add(session, job_id, "job.epoch", "Epoch 1 of 10.", data={"epoch": 1, "train_loss": 0.5})
            count += 1
        return count

    with ThreadPoolExecutor(WRITERS) as pool:
        began = time.monotonic()
        counts = [pool.submit(write, job_id) for job_id in ids]
        while time.monotonic() - began < SECONDS:
            if act is None:
                time.sleep(0.2)
            else:
                act()
        over.set()
        return sum(one.result() for one in counts) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
