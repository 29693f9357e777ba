"""Finding one job, and lists of jobs, with a million jobs in the table, relative to a thousand."""

import os
import tempfile
import time

from sqlalchemy import create_engine, text

from benchmarks.load import load, request
from benchmarks.serving import add_job, chosen, prepare, service
from heldout.service.database_urls import make_driver_url
from models.database import Database
from models.store.listing import compute_pair_sha256
from models.tables import JobRow
from tests.servers import PostgresServer

FEW, MANY = 1_000, int(os.environ.get("BENCH_JOBS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
TARGET = 1.5

# Most have succeeded, some have failed, a few wait; every 40th bears a label.
_CHANGED = {
    "id": "'job_' || {padded}",
    "status": "CASE WHEN n % 50 = 0 THEN 'failed' WHEN n % 200 = 1 THEN 'cancelled' ELSE 'succeeded' END",
    "metadata": "CASE WHEN n % 40 = 0 THEN {labels} ELSE {none} END",
}


def main() -> None:
    """Print the median latency of each request on both tables (the best of the rounds), and their ratio."""
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        if chosen("PostgreSQL"):
            with PostgresServer() as server:
                _compare("PostgreSQL", _databases_on(server), folder)
        if chosen("SQLite"):
            _compare("SQLite", {count: f"sqlite:///{folder}/{count}.db" for count in (FEW, MANY)}, folder)


def _databases_on(server: PostgresServer) -> dict[int, str]:
    urls = {}
    admin = create_engine(make_driver_url(server.url), isolation_level="AUTOCOMMIT")
    for count in (FEW, MANY):
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE jobs_{count}"))
        urls[count] = make_driver_url(server.url).rpartition("/")[0] + f"/jobs_{count}"
    return urls


def _compare(name: str, urls: dict[int, str], folder: str) -> None:
    keys = {}
    for count, url in urls.items():
        database = Database(url)
        keys[count] = prepare(database, folder)
        began = time.monotonic()
        fill(database, count)
        database.dispose()
        print(f"{name}: {count:,} jobs in {time.monotonic() - began:.0f} s", flush=True)
    with service(urls[FEW], folder) as few, service(urls[MANY], folder) as many:
        print(f"{'':<52} {f'{FEW:,} ms':>10} {f'{MANY:,} ms':>14} {'ratio':>6}")
        for path in _paths():
            pairs = []
            for _ in range(ROUNDS):
                pairs.append(
                    tuple(
                        load(
                            running.port,
                            request("GET", path(count), key=keys[count]),
                            clients=1,
                            seconds=SECONDS,
                            status=200,
                        ).p50_ms
                        for running, count in ((few, FEW), (many, MANY))
                    )
                )
            small, large = (min(side) for side in zip(*pairs, strict=True))
            missed = "" if large <= TARGET * small else f"   over {TARGET}"
            print(f"{path(MANY):<52} {small:>10.2f} {large:>14.2f} {large / small:>6.2f}{missed}", flush=True)


def _paths():  # type: ignore[no-untyped-def]
    middle = lambda count: f"job_{count // 2:026d}"  # noqa: E731
    return (
        lambda count: f"/v1/jobs/{middle(count)}",
        lambda count: "/v1/jobs",
        lambda count: f"/v1/jobs?after={middle(count)}",
        lambda count: "/v1/jobs?status=succeeded",
        lambda count: "/v1/jobs?status=queued",
        lambda count: "/v1/jobs?status=running&status=cancelling",
        lambda count: "/v1/jobs?status=failed&status=succeeded",
        lambda count: "/v1/jobs?status=queued&status=running&status=paused",
        lambda count: "/v1/jobs?dataset=digits",
        lambda count: "/v1/jobs?dataset=mnist5k",
        lambda count: "/v1/jobs?metadata[sweep]=all",
        lambda count: "/v1/jobs?metadata[sweep]=none",
        lambda count: f"/v1/jobs/{middle(count)}/events",
    )


def fill(database: Database, count: int) -> None:
    """Add this many ended jobs, copies of one, and five that wait."""
    template = add_job(database)
    columns = [column.name for column in JobRow.__table__.columns]
    postgres = database.engine.dialect.name == "postgresql"
    words = {
        "padded": "lpad(n::text, 26, '0')" if postgres else "printf('%026d', n)",
        "labels": "jsonb_build_object('sweep', 'all')" if postgres else """json('{"sweep":"all"}')""",
        "none": "'{}'::jsonb" if postgres else "'{}'",
    }
    chosen = [_CHANGED.get(name, f"t.{name}").format(**words) for name in columns]
    series = "generate_series(cast(:low AS bigint), cast(:high AS bigint)) n" if postgres else "numbers"
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT :low UNION ALL SELECT n + 1 FROM numbers WHERE n < :high) "
    for low in range(1, count + 1, 20_000):
        with database.write() as session:
            session.execute(
                text(
                    f"{'' if postgres else numbers}INSERT INTO jobs ({', '.join(columns)}) "
                    f"SELECT {', '.join(chosen)} FROM jobs t, {series} WHERE t.id = :template"
                ),
                {"low": low, "high": min(count, low + 19_999), "template": template},
            )
    with database.write() as session:
        bears = {"pair": compute_pair_sha256("sweep", "all"), "none": "{}"}
        compared = "metadata <> cast(:none AS jsonb)" if postgres else "metadata <> :none"
        session.execute(text(f"INSERT INTO job_metadata SELECT owner, :pair, id FROM jobs WHERE {compared}"), bears)
    for _ in range(5):
        add_job(database)
    if postgres:  # what autovacuum does within a minute
        with database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("VACUUM ANALYZE"))


if __name__ == "__main__":
    main()
