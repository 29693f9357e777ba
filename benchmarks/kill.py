"""How long a job stands still if its worker is killed with SIGKILL, until its next epoch, in leases."""

import os
import random
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from benchmarks.serving import chosen
from models.database import Database
from models.migrations import upgrade
from tests.e2e.running import until
from tests.e2e.stack import Stack, long_digits, stack_on
from tests.servers import PostgresServer, RedisServer

KILLS = int(os.environ.get("BENCH_KILLS", "5"))
LEASE_S = float(os.environ.get("BENCH_LEASE_S", "12"))
# In the proportions of the defaults: a heartbeat is a sixth of the lease, a reconciler's round a quarter.
SETTINGS = {
    "HELDOUT_LEASE_S": f"{LEASE_S:g}",
    "HELDOUT_HEARTBEAT_S": f"{LEASE_S / 6:g}",
    "HELDOUT_RECONCILE_S": f"{LEASE_S / 4:g}",
}


def main() -> None:
    """Print the multiple of the lease, and its parts: until the loss is noticed, and from then to the next epoch."""
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        if chosen("SQLite"):
            _on_sqlite(folder)
        if chosen("PostgreSQL"):
            with (
                PostgresServer() as postgres,
                RedisServer() as broker,
                stack_on(Path(folder, "celery"), postgres, broker, **SETTINGS) as stack,
            ):
                _measure("PostgreSQL, Redis and Celery", stack)


def _on_sqlite(folder: str) -> None:
    url = f"sqlite:///{folder}/heldout.db"
    database = Database(url)
    upgrade(database)
    database.dispose()
    stack = Stack(Path(folder, "sqlite"), url, **SETTINGS)
    try:
        _measure("SQLite", stack)
    finally:
        stack.close()


def _measure(name: str, stack: Stack) -> None:
    chance = random.Random(1)
    stack.start(workers=2)
    noticed, resumed = [], []
    for _ in range(KILLS):
        job_id = stack.submit(long_digits(1000))
        stack.wait_for_epoch(job_id, 3)
        time.sleep(chance.uniform(0, LEASE_S / 6))  # each time at another point between two heartbeats
        stack.holder(job_id).kill_all()
        killed_at = time.time()
        stack.wait_for_attempt(job_id, attempt=2)
        epoch = stack.job(job_id)["progress"]["epoch"]
        until(lambda job_id=job_id, epoch=epoch: stack.job(job_id)["progress"]["epoch"] > epoch, "an epoch")
        resumed.append(time.time() - killed_at)
        [lost] = [event["created_at"] for event in stack.events(job_id) if event["type"] == "job.requeued"]
        noticed.append(datetime.fromisoformat(lost).timestamp() - killed_at)
        stack.ask("POST", f"/v1/jobs/{job_id}/cancel")
        stack.wait_for_end(job_id)
        stack.start_worker()
    leases = [seconds / LEASE_S for seconds in resumed]
    rest = [whole - part for whole, part in zip(resumed, noticed, strict=True)]
    print(f"{name}: {KILLS} kills, leases of {LEASE_S:g} s")
    print(f"  from kill -9 to the next epoch  {_spread(leases)} leases")
    print(f"  until the loss is noticed       {_spread([seconds / LEASE_S for seconds in noticed])} leases")
    print(f"  from there to the next epoch    {_spread(rest)} s", flush=True)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


if __name__ == "__main__":
    main()
