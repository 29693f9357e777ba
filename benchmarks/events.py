"""Events per second of eight writers of one owner, alone and while somebody follows the owner's stream."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

from api.live.recent_events import KEPT_EVENTS, Channel
from api.live.source import DatabaseSource
from benchmarks.serving import OWNER, add_job, prepare
from heldout.service.database_urls import driver_url
from models.database import Database
from models.store import events
from tests.servers import PostgresServer

WRITERS = 8
SECONDS = 6.0
ROUND_S = 0.2


def main() -> None:
    """Print both figures on PostgreSQL, which waits for the disk at each commit. SQLite has one writer at a time."""
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder, PostgresServer() as server:
        database = Database(driver_url(server.url))
        prepare(database, folder)
        alone = _events_per_s(database, lambda: None)
        followed = _events_per_s(database, partial(_follow, DatabaseSource(database)))
        print(f"{WRITERS} writers: {alone:.0f} events/s, {followed:.0f} while the owner's stream is followed")
        database.dispose()


def _follow(source: DatabaseSource) -> None:
    """What the hub does in one round for an owner's stream."""
    channel = Channel("owner", OWNER)
    last = source.states([channel])[channel].last_event
    source.events_after({channel: max(0, last - KEPT_EVENTS)})


def _events_per_s(database: Database, act: Callable[[], None]) -> float:
    """Events that all writers commit in a second, while `act` is done every `ROUND_S`."""
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
            act()
            time.sleep(ROUND_S)
        over.set()
        return sum(one.result() for one in counts) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
