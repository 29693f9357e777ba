"""Rate and p99 of POST /v1/jobs and GET /v1/jobs/{id}, compared with a bare FastAPI app on the same PostgreSQL."""

import json
import os
import statistics
import tempfile
from pathlib import Path

import httpx2
from sqlalchemy import create_engine, text

from benchmarks.load import Measured, load, load_in_turn, request
from benchmarks.serving import served
from heldout.service.database_urls import make_driver_url
from models import bundled
from models.blobs import Blobs
from models.database import Database
from models.migrations import upgrade
from models.store import keys
from tests.servers import PostgresServer

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = (1, 16, 64)
CLIENTS_IN_TURN = 16
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


def main() -> None:
    """Print, for each kind of request and number of clients, both sides and their ratio."""
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder, PostgresServer() as server:
        url, blobs = make_driver_url(server.url), Path(folder, "blobs").as_uri()
        database = Database(url)
        upgrade(database)
        bundled.register(database, Blobs(blobs), Path(folder))
        with database.write() as session:
            key = keys.make(session, "bench")
        database.dispose()
        with create_engine(url).begin() as connection:
            connection.execute(text("CREATE TABLE bare (id text PRIMARY KEY, spec jsonb NOT NULL)"))
        environment = {"DATABASE_URL": url, "HELDOUT_BLOBS": blobs, "HELDOUT_HOME": folder, "LOG_LEVEL": "WARNING"}
        with (
            served("api.app:from_environment", ["--factory"], environment) as ours,
            served("benchmarks.bare:app", [], environment) as bare,
        ):
            _compare(ours.port, bare.port, key)


def _compare(ours: int, bare: int, key: str) -> None:
    body = (ROOT / "examples" / "overfit.json").read_bytes()
    made = httpx2.post(
        f"http://127.0.0.1:{ours}/v1/jobs", content=body, headers=_headers(key) | {"Content-Type": "application/json"}
    ).json()
    plain = httpx2.post(f"http://127.0.0.1:{bare}/jobs", json=json.loads(body)).json()
    kinds = {
        "POST /v1/jobs": (
            request("POST", "/v1/jobs", key=key, body=body),
            request("POST", "/jobs", body=body),
            201,
        ),
        "GET /v1/jobs/{id}": (
            request("GET", f"/v1/jobs/{made['id']}", key=key),
            request("GET", f"/jobs/{plain['id']}"),
            200,
        ),
    }
    print(
        f"{'':<18} {'clients':>7} {'heldout/s':>10} {'bare/s':>8} {'ratio':>6}   heldout p50/p99 ms   bare p50/p99 ms"
    )
    for name, (mine, theirs, status) in kinds.items():
        for clients in CLIENTS:
            pairs = [
                (
                    load(ours, mine, clients=clients, seconds=SECONDS, status=status),
                    load(bare, theirs, clients=clients, seconds=SECONDS, status=status),
                )
                for _ in range(ROUNDS)
            ]
            _print(name, clients, pairs)
    _print_in_turn(ours, {name: (mine, status) for name, (mine, _, status) in kinds.items()})


def _print_in_turn(port: int, messages: dict[str, tuple[bytes, int]]) -> None:
    rounds = [
        load_in_turn(port, list(messages.values()), clients=CLIENTS_IN_TURN, seconds=SECONDS) for _ in range(ROUNDS)
    ]
    print(f"POST and GET in turn, {CLIENTS_IN_TURN} clients:")
    for name, measured in zip(messages, zip(*rounds, strict=True), strict=True):
        middle = sorted(measured, key=lambda one: one.p99_ms)[ROUNDS // 2]
        print(
            f"{name:<18} {CLIENTS_IN_TURN:>7} {middle.per_second:>10.0f} {'':>15}   "
            f"{middle.p50_ms:>8.1f} /{middle.p99_ms:>8.1f}"
        )


def _print(name: str, clients: int, pairs: list[tuple[Measured, Measured]]) -> None:
    ratio = statistics.median(mine.per_second / theirs.per_second for mine, theirs in pairs)
    mine, theirs = (sorted(side, key=lambda m: m.per_second)[len(pairs) // 2] for side in zip(*pairs, strict=True))
    print(
        f"{name:<18} {clients:>7} {mine.per_second:>10.0f} {theirs.per_second:>8.0f} {ratio:>6.2f}   "
        f"{mine.p50_ms:>8.1f} /{mine.p99_ms:>8.1f}   {theirs.p50_ms:>6.1f} /{theirs.p99_ms:>7.1f}"
    )


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


if __name__ == "__main__":
    main()
