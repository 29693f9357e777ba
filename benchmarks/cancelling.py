"""Times another owner's POST /v1/jobs while a study of 420 external trainings is cancelled.

`python -m benchmarks.cancelling` starts an API on SQLite, and with `--postgres` one on PostgreSQL.
"""

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic

import httpx2
import numpy as np

from models.database import Database
from models.migrations import upgrade
from models.store import keys
from tests.e2e.stack import Stack, digits, stack_on
from tests.servers import PostgresServer, RedisServer

ARMS, SEEDS, ROUNDS = 21, 20, 3
# How long an idle service is measured, and the pause between two requests.
IDLE_S, PAUSE_S = 3.0, 0.02


@contextmanager
def serve_on_sqlite() -> Iterator[Stack]:
    """An API without a worker on a database file, for the block."""
    with tempfile.TemporaryDirectory(prefix="heldout-cancelling-") as name:
        url = f"sqlite:///{name}/heldout.db"
        database = Database(url)
        upgrade(database)
        database.dispose()
        stack = Stack(Path(name), url)
        try:
            yield stack
        finally:
            stack.close()


@contextmanager
def serve_on_postgres() -> Iterator[Stack]:
    """An API on PostgreSQL, for the block."""
    with (
        tempfile.TemporaryDirectory(prefix="heldout-cancelling-") as name,
        PostgresServer() as postgres,
        RedisServer() as broker,
        stack_on(Path(name), postgres, broker) as stack,
    ):
        yield stack


class OtherOwner(threading.Thread):
    """Posts one small job after another, and keeps status and duration of each request."""

    def __init__(self, client: httpx2.Client) -> None:
        super().__init__()
        self._client = client
        self._ends = threading.Event()
        self.found: list[tuple[int, float]] = []

    def run(self) -> None:
        while not self._ends.wait(PAUSE_S):
            begun = monotonic()
            answer = self._client.post("/v1/jobs", json=digits())
            self.found.append((answer.status_code, monotonic() - begun))

    def stop(self) -> list[tuple[int, float]]:
        self._ends.set()
        self.join()
        return self.found


def measure(stack: Stack) -> None:
    """Print one line for each round."""
    stack.start_api(HELDOUT_QUOTA_WAITING_JOBS="0", LOG_LEVEL="WARNING")
    database = Database(stack.database_url)
    with database.write() as session:
        other_key = keys.make(session, "another")
    database.dispose()
    arms = [{"name": name} for name in ("base", *(f"arm{number}" for number in range(1, ARMS)))]
    bearer = {"Authorization": f"Bearer {other_key}"}
    with httpx2.Client(base_url=stack.url, headers=bearer, timeout=60) as other:
        for _ in range(ROUNDS):
            study = stack.ask("POST", "/v1/studies", json={"kind": "external", "arms": arms, "seeds": SEEDS})
            study.raise_for_status()
            idle = OtherOwner(other)
            idle.start()
            idle.join(IDLE_S)
            quiet = idle.stop()
            beside = OtherOwner(other)
            beside.start()
            begun = monotonic()
            ended = stack.ask("POST", f"/v1/studies/{study.json()['id']}/cancel")
            took = monotonic() - begun
            found = beside.stop()
            print(
                f"{ended.status_code} {ended.json()['status']} in {took:.2f} s; "
                f"another owner's POST: {describe(found)}; before: {describe(quiet)}",
                flush=True,
            )


def describe(found: list[tuple[int, float]]) -> str:
    times = 1000 * np.array([took for _, took in found])
    refused = sum(status != 201 for status, _ in found)
    middle, longest = float(np.median(times)), float(times.max())
    return f"{len(found)} requests, median {middle:.0f} ms, longest {longest:.0f} ms, {refused} refused"


SERVICES: dict[str, Callable[[], AbstractContextManager[Stack]]] = {
    "--postgres": serve_on_postgres,
    "--sqlite": serve_on_sqlite,
}


def main(arguments: list[str]) -> None:
    with SERVICES[arguments[0] if arguments else "--sqlite"]() as stack:
        measure(stack)


if __name__ == "__main__":
    main(sys.argv[1:])
