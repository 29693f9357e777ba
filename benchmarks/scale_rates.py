"""Claims a second with 1, 10 and 100 claiming processes, and polls of a job a second by as many clients.

Everything shares one PostgreSQL and one API process: `python -m benchmarks.scale_rates`.
"""

import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Barrier
from statistics import median, quantiles
from typing import Any

from sqlalchemy import text

from benchmarks.claims import CPU, NEEDED_BYTES, fill_long_queue
from benchmarks.load import load, request
from benchmarks.serving import add_job, prepare, service
from heldout.errors import DatabaseUnavailable
from heldout.service.database_urls import make_driver_url
from models.database import Database
from models.store import claims
from models.store.claims import Capacity
from tests.servers import PostgresServer

AT_ONCE = (1, 10, 100)
SECONDS = 10.0
CONNECTIONS = 250


def main() -> None:
    """Print a row for each number of processes."""
    with tempfile.TemporaryDirectory(prefix="heldout-rates-") as folder, PostgresServer() as server:
        url = make_driver_url(server.url)
        database = Database(url)
        key = prepare(database, folder)
        with database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
                f"ALTER SYSTEM SET max_connections = {CONNECTIONS}"
            )
        database.dispose()
        server.stop()
        server.start()
        fill_long_queue(database)
        print(f"{'at once':>8} {'claims/s':>9} {'p50':>7} {'p99':>7} ms {'polls/s':>9} {'p50':>7} {'p99':>7} ms")
        polled = add_job(database)
        for count in AT_ONCE:
            times_ms = claim_at_once(url, count)
            with database.write() as session:
                session.execute(
                    text("UPDATE jobs SET status = 'queued', lease_expires_at = NULL WHERE status = 'running'")
                )
            with service(url, folder) as served:
                answered = load(
                    served.port,
                    request("GET", f"/v1/jobs/{polled}", key=key),
                    clients=count,
                    seconds=SECONDS,
                    status=200,
                )
            claimed = f"{len(times_ms) / SECONDS:>9.0f} {median(times_ms):>7.1f} {quantiles(times_ms, n=100)[98]:>7.1f}"
            print(
                f"{count:>8} {claimed}    {answered.per_second:>9.0f} {answered.p50_ms:>7.1f} {answered.p99_ms:>7.1f}"
            )
        database.dispose()


def claim_at_once(url: str, processes: int) -> list[float]:
    """Claim in this many processes for some seconds, and return the time of each claim in milliseconds."""
    context = multiprocessing.get_context("fork")
    begin, found = context.Barrier(processes), context.SimpleQueue()
    children = [context.Process(target=_claim, args=(url, f"w{n}", begin, found)) for n in range(processes)]
    for child in children:
        child.start()
    times_ms = [taken for _ in children for taken in found.get()]
    for child in children:
        child.join()
    return times_ms


def _claim(url: str, worker: str, begin: Barrier, found: Any) -> None:
    database, times_ms = Database(url), []
    with database.read() as session:
        session.execute(text("SELECT 1"))
    begin.wait()
    until = time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < until:
        try:
            with database.write() as session:
                claimed = claims.claim(session, worker, Capacity(CPU, memory_bytes=2 * NEEDED_BYTES), 60)
        except DatabaseUnavailable:  # it waited too long for others' locks
            continue
        assert claimed is not None, "the queue is too short"
        times_ms.append(1000 * (time.perf_counter() - began))
    found.put(times_ms)


if __name__ == "__main__":
    main()
