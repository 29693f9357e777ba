"""Claims, lists and usage with ten thousand, a million and ten million jobs in PostgreSQL: times and plans.

`python -m benchmarks.scale_table [JOBS …]` takes about 13 GB of disk for ten million, and gives it back.
"""

import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any

import yaml
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from benchmarks.load import load, request
from benchmarks.serving import OWNER, ROOT, add_job, prepare, service
from heldout.service.database_urls import make_driver_url
from models.database import Database
from models.store import claims, jobs, owners
from models.store.claims import Capacity
from models.store.listing import Filters, Sort
from models.tables import JobRow
from tests.servers import PostgresServer

SIZES = (10_000, 1_000_000, 10_000_000)
# One owner has a tenth of all jobs. Only its newest jobs, which its lists show, have whole specs, so that ten million
# rows fit on the disk; indexes and plans do not depend on the others'.
OWNERS, WITH_SPEC, WITH_EPOCHS, EPOCHS, QUEUED = 10_000, 5_000, 1_000_000, 3, 5_000
AT_ONCE = 500_000
REPEATS = 30
CPU = ("auto", "cpu")

_OF_EACH = {
    "id": "'job_' || lpad(n::text, 26, '0')",
    "owner": f"CASE WHEN n % 10 = 0 THEN '{OWNER}' ELSE 'owner ' || (n % {OWNERS}) END",
    "status": "CASE WHEN n % 50 = 0 THEN 'failed' WHEN n % 200 = 1 THEN 'cancelled' ELSE 'succeeded' END",
    "spec": "CASE WHEN n > :whole_from THEN t.spec ELSE '{}'::jsonb END",
    "created_at": "t.created_at - make_interval(secs => 10000000 - n)",
    "finished_at": "t.created_at - make_interval(secs => 10000000 - n)",
}


def main(sizes: tuple[int, ...]) -> None:
    """Print the times at each size, and each plan that reads whole tables."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="heldout-scale-") as folder, PostgresServer() as server:
        url = make_driver_url(server.url)
        database = Database(url)
        key = prepare(database, folder)
        template = add_job(database)
        with _administering(database) as run:
            run("ALTER SYSTEM SET synchronous_commit = off")
            run("ALTER SYSTEM SET max_wal_size = '1GB'")
            run("SELECT pg_reload_conf()")
        last = 0
        for size in sizes:
            began = time.monotonic()
            fill(database, template, last, size)
            last = size
            with _administering(database) as run:
                [row] = run(
                    "SELECT pg_total_relation_size('jobs'), pg_relation_size('jobs'), pg_database_size('heldout')"
                )
            print(
                f"{size:,} jobs in {time.monotonic() - began:.0f} s: {row[2] / 1e9:.2f} GB, of which the table of jobs "
                f"{row[1] / 1e9:.2f} and its indexes {(row[0] - row[1]) / 1e9:.2f}",
                flush=True,
            )
            for what, ms in measure(database, url, folder, key).items():
                found.setdefault(what, []).append(ms)
        print(f"\n{'p50, ms':<44}" + "".join(f"{size:>13,}" for size in sizes))
        for what, times in found.items():
            print(f"{what:<44}" + "".join(f"{ms:>13.2f}" for ms in times))
        database.dispose()


@contextmanager
def _administering(database: Database) -> Iterator[Callable[..., Any]]:
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text("SET maintenance_work_mem = '512MB'"))
        yield (
            lambda statement, **values: (
                done.all() if (done := connection.execute(text(statement), values)).returns_rows else None
            )
        )


def fill(database: Database, template: str, low: int, high: int) -> None:
    """Add ended jobs of many owners up to this number, and see to it that the same number of jobs waits."""
    columns = [column.name for column in JobRow.__table__.columns]
    chosen = ", ".join(_OF_EACH.get(name, f"t.{name}") for name in columns)
    with _administering(database) as run:
        indexes = run("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'jobs' AND indexname LIKE 'ix_%'")
        if high - low > AT_ONCE:
            for name, _ in indexes:
                run(f"DROP INDEX {name}")
        for first in range(low + 1, high + 1, AT_ONCE):
            run(
                f"INSERT INTO jobs ({', '.join(columns)}) SELECT {chosen} "
                "FROM jobs t, generate_series(cast(:low AS bigint), cast(:high AS bigint)) n WHERE t.id = :template",
                low=first,
                high=min(high, first + AT_ONCE - 1),
                template=template,
                whole_from=high - 10 * WITH_SPEC,
            )
        if high - low > AT_ONCE:
            for _, definition in indexes:
                run(definition)
        if not low:
            waiting = ", ".join(
                {"id": "t.id || '-' || n", "owner": f"'owner ' || (n % {OWNERS})"}.get(name, f"t.{name}")
                for name in columns
            )
            run(
                f"INSERT INTO jobs ({', '.join(columns)}) SELECT {waiting} FROM jobs t, generate_series(1, {QUEUED}) n "
                "WHERE t.id = :template",
                template=template,
            )
            run("INSERT INTO owners (owner) SELECT DISTINCT owner FROM jobs ON CONFLICT (owner) DO NOTHING")
        if low < WITH_EPOCHS:
            numbers = f"generate_series(cast({low + 1} AS bigint), cast({min(high, WITH_EPOCHS)} AS bigint)) n"
            job = _OF_EACH["id"]
            run(
                f"INSERT INTO attempts (job_id, attempt, worker, started_at) SELECT {job}, 1, 'w', now() FROM {numbers}"
            )
            run(
                f"INSERT INTO epochs (job_id, attempt, epoch, train_loss, train_accuracy, validation_loss, "
                f"validation_accuracy, seconds) SELECT {job}, 1, e, 1.0 / e, 0.9, 1.1 / e, 0.8, 3 "
                f"FROM {numbers}, generate_series(1, {EPOCHS}) e"
            )
        run("VACUUM ANALYZE")


def measure(database: Database, url: str, folder: str, key: str) -> dict[str, float]:
    """Return the median of each statement group in milliseconds, and print plans that read a whole table."""
    now = datetime.now(UTC)
    free = Capacity(CPU, memory_bytes=2**40)
    with database.read() as session:
        newest = jobs.list_page(session, OWNER, Filters(), limit=20, after=None)[-1]
    reads: dict[str, Callable[[Session], object]] = {
        "is there a job to claim": lambda session: claims.is_any_claimable(session, free),
        "one job": lambda session: jobs.find(session, OWNER, newest),
        "first page of the owner's jobs": partial(_list, Filters()),
        "a page after a million jobs": partial(_list, Filters(), after="job_" + "0" * 22 + "9000"),
        "failed jobs": partial(_list, Filters(statuses=("failed",))),
        "by the best accuracy": partial(_list, Filters(), sort=Sort.BEST),
        "jobs of a dataset": partial(_list, Filters(dataset="digits")),
        "usage and quotas of the owner": lambda session: (
            owners.list_buckets(session, OWNER, now - timedelta(days=1), now, bucket="hour", group_by=None),
            owners.list_quotas(session, OWNER),
        ),
        "what the reconciler asks": lambda session: claims.find_work(session),
        "waiting and running jobs, as KEDA asks": lambda session: session.execute(text(get_keda_query())).all(),
        "jobs that have not ended, as Prometheus asks": lambda session: (
            jobs.count_unfinished(session),
            jobs.count_waiting(session),
        ),
    }
    found = {}
    for what, read in reads.items():
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            with database.read() as session:
                read(session)
            times.append(1000 * (time.perf_counter() - began))
        found[what] = median(times)
        explain(database, what, read)
    times = []
    for number in range(REPEATS):
        began = time.perf_counter()
        with database.write() as session:
            claimed = claims.claim(session, f"w{number}", free, 60)
        times.append(1000 * (time.perf_counter() - began))
        assert claimed is not None
    found["a claim, commit included"] = median(times)
    with database.write() as session:  # so that the same jobs wait at the next size
        session.execute(text("UPDATE jobs SET status = 'queued', lease_expires_at = NULL WHERE status = 'running'"))
    with service(url, folder) as served:
        for path in ("/v1/jobs", f"/v1/jobs/{newest}", "/v1/usage"):
            answered = load(served.port, request("GET", path, key=key), clients=1, seconds=2, status=200)
            found[f"GET {path}".replace(newest, "ID")] = answered.p50_ms
    return found


def _list(filters: Filters, session: Session, *, sort: Sort = Sort.CREATED, after: str | None = None) -> object:
    return jobs.list_page(session, OWNER, filters, sort=sort, limit=20, after=after)


def get_keda_query() -> str:
    """Return the query of the chart's trigger for workers without a GPU."""
    template = (ROOT / "deploy/helm/heldout/templates/keda.yaml").read_text(encoding="utf-8")
    query = re.search(r"query: >-\n((?: {10}.*\n)+)", template)
    assert query is not None
    kinds = "kind NOT IN ('external_run', 'idle_experiment') AND device IN ('auto', 'cpu')"
    return " ".join(str(yaml.safe_load(f"q: >-\n{query[1]}".replace("{{ $kinds }}", kinds))["q"]).split())


def explain(database: Database, what: str, read: Callable[[Session], object]) -> None:
    """Print the plan of each statement that reads a large table from end to end, and the time of the metrics."""
    seen: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        seen.append((statement, values))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        with database.read() as session:
            read(session)
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    with database.engine.connect() as connection:
        for statement, values in seen:
            if not statement.lstrip().upper().startswith(("SELECT", "WITH")):
                continue
            plan = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", values)]
            whole = [line.strip() for line in plan if re.search(r"Seq Scan on (jobs|epochs|events|attempts)", line)]
            took = plan[-1].strip()
            if whole or what.startswith("jobs that have not ended"):
                print(f"  {what}: {'; '.join(whole) or plan[0].strip()}; {took}", flush=True)


if __name__ == "__main__":
    main(tuple(int(size) for size in sys.argv[1:]) or SIZES)
