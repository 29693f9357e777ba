"""A thousand open streams on one API process: the memory and database connections they take, and the delay of
events.
"""

import asyncio
import json
import os
import tempfile
import time

from sqlalchemy import text

from benchmarks.serving import Served, add_job, prepare, service
from heldout.service.database_urls import make_driver_url
from models.database import Database
from models.store import events
from tests.servers import PostgresServer

STREAMS = int(os.environ.get("BENCH_STREAMS", "1000"))
JOBS = 100
ROUNDS = 10
PAUSE_S = 1.0


def main() -> None:
    """Print both figures on PostgreSQL and on SQLite."""
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder, PostgresServer() as server:
        for name, url in (("PostgreSQL", make_driver_url(server.url)), ("SQLite", f"sqlite:///{folder}/heldout.db")):
            database = Database(url)
            key = prepare(database, folder)
            ids = [add_job(database) for _ in range(JOBS)]
            with service(url, folder) as running:
                asyncio.run(_measure(name, running, database, key, ids))
            database.dispose()


async def _measure(name: str, running: Served, database: Database, key: str, ids: list[str]) -> None:
    delays: list[float] = []
    await asyncio.gather(*await _open(running, key, ids[:1], 40, [], 1))  # threads and pools are there from now on
    before = running.resident_bytes()
    listening = await _open(running, key, ids, STREAMS, delays, 1 + ROUNDS)
    grown = running.resident_bytes() - before
    sessions = (0, 0)
    for _ in range(ROUNDS):
        await asyncio.sleep(PAUSE_S)
        await asyncio.to_thread(_say, database, ids)
        sessions = max(sessions, await asyncio.to_thread(_sessions, database))
    await asyncio.gather(*listening)
    delays.sort()
    print(f"{name}: {STREAMS} streams of {JOBS} jobs, {ROUNDS} events for each stream")
    print(f"  memory per stream        {grown / STREAMS / 1024:7.1f} KiB")
    if sessions[0]:
        print(
            f"  database sessions        {sessions[0]:7d}   of the service's pool and this program; busy: {sessions[1]}"
        )
    print(
        f"  event delay, s           median {delays[len(delays) // 2]:.3f}   p99 {delays[len(delays) * 99 // 100]:.3f}"
        f"   max {delays[-1]:.3f}   of {len(delays)}"
    )


async def _open(
    running: Served, key: str, ids: list[str], count: int, delays: list[float], wanted: int
) -> list[asyncio.Task[None]]:
    """Open this many streams, each with its first event received. Their tasks end after `wanted` events."""
    tasks = []
    for start in range(0, count, 50):
        opened = [asyncio.Event() for _ in range(min(50, count - start))]
        tasks += [
            asyncio.create_task(_listen(running.port, key, ids[(start + place) % len(ids)], one, delays, wanted))
            for place, one in enumerate(opened)
        ]
        for one in opened:
            await one.wait()
    return tasks


async def _listen(port: int, key: str, job_id: str, opened: asyncio.Event, delays: list[float], wanted: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
    writer.write(f"{head}Accept: text/event-stream\r\n\r\n".encode())
    while wanted:
        line = await reader.readline()
        if not line:
            raise SystemExit("A stream ended.")
        if line.startswith(b"data: "):
            said = json.loads(line[6:])["data"].get("said")
            if said is not None:
                delays.append(time.monotonic() - said)
            wanted -= 1
            opened.set()
    writer.close()


def _say(database: Database, ids: list[str]) -> None:
    for job_id in ids:
        with database.write() as session:
            events.add(session, job_id, "job.warning", "An event of usual length.", data={"said": time.monotonic()})


def _sessions(database: Database) -> tuple[int, int]:
    """The service's sessions on PostgreSQL, and how many are busy; SQLite has none."""
    if database.engine.dialect.name == "sqlite":
        return 0, 0
    query = "SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity"
    ours = "datname = current_database() AND backend_type = 'client backend' AND application_name = ''"
    with database.read() as session:
        every, busy = session.execute(text(f"{query} WHERE {ours} AND pid <> pg_backend_pid()")).one()
    return every, busy


if __name__ == "__main__":
    main()
