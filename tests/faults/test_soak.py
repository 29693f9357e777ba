"""Five owners use everything at once while something breaks every minute: nothing grows, and each job ends once."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from host.check import check_deep
from models.blobs import Blobs
from models.database import Database
from models.store import keys
from tests.e2e.running import until
from tests.e2e.stack import LEASE_S, SHORT, Answer, Stack, stack_on
from tests.faults.history import read, violations
from tests.faults.soak import Owner, Watch, growth
from tests.servers import PostgresServer, RedisServer

OWNERS = 5
SETTLE_S = 240.0
# Growth between the second and the last quarter of the time.
MOST_GROWTH_MB = 16.0
MOST_GROWTH_FILES = 4
MOST_GROWTH_THREADS = 8  # thread pools fill up while requests come at the same time
# Files that a killed worker may leave in the store, because their rows were not committed yet.
ORPHANS_PER_KILL = 4

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3000)]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The temporary directory of the stack's processes."""
    folder = tmp_path / "tmp"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def stack(
    tmp_path: Path, temporary: Path, postgres_server: PostgresServer, redis_server: RedisServer
) -> Iterator[Stack]:
    settings = SHORT | {"HELDOUT_RECONCILE_S": "1", "TMPDIR": str(temporary)}
    with stack_on(tmp_path / "stack", postgres_server, redis_server, **settings) as made:
        yield made


class Faults:
    """Breaks one thing after another, and lets it come back. The API and the first worker are spared, because they are
    watched for growth.
    """

    def __init__(self, stack: Stack, postgres: PostgresServer, broker: RedisServer) -> None:
        self._stack = stack
        self._postgres = postgres
        self._broker = broker
        self.kills = 0
        self.injected: list[str] = []
        self._next: Iterator[Callable[[], None]] = itertools.cycle(
            [
                self.kill_a_training,
                self.kill_the_second_worker,
                self.restart_the_database,
                self.restart_the_broker,
                self.freeze_the_second_worker,
                self.freeze_the_database,
            ]
        )

    def inject_next(self) -> None:
        fault = next(self._next)
        self.injected.append(fault.__name__)
        fault()

    def kill_a_training(self) -> None:
        for worker in self._stack.workers:
            for pid in worker.trainings() if worker.lives() else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.kills += 1
                    return

    def kill_the_second_worker(self) -> None:
        self._stack.workers[-1].kill_all()
        self.kills += 1
        self._stack.start_worker()

    def restart_the_database(self) -> None:
        self._postgres.kill()
        self._postgres.start()

    def restart_the_broker(self) -> None:
        self._broker.kill()
        self._broker.start()

    def freeze_the_second_worker(self) -> None:
        worker = self._stack.workers[-1]
        worker.send(signal.SIGSTOP)
        time.sleep(1.5 * LEASE_S)  # the fault itself: its leases run out
        worker.send(signal.SIGCONT)

    def freeze_the_database(self) -> None:
        self._postgres.pause()
        time.sleep(3)  # the fault itself
        self._postgres.resume()


@pytest.mark.parametrize(
    ("minutes", "fault_every_s"), [pytest.param(4, 25, id="short"), pytest.param(30, 60, id="long")]
)
def test_five_owners_and_a_fault_every_minute_leave_no_job_open_and_nothing_that_grows(
    stack: Stack,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    temporary: Path,
    tmp_path: Path,
    minutes: float,
    fault_every_s: float,
) -> None:
    stack.start(workers=2)
    assert stack.api is not None
    stop, watch = threading.Event(), Watch()
    watch.follow("api", stack.api.pid)
    watch.follow("worker", stack.workers[0].pid)
    owners = _owners(stack, stop, tmp_path)
    threads = [threading.Thread(target=owner.run, name=owner.name) for owner in owners]
    for thread in threads:
        thread.start()
    watch.start()
    faults = Faults(stack, postgres_server, redis_server)
    ends = time.monotonic() + 60 * minutes
    try:
        while time.monotonic() + fault_every_s < ends:
            time.sleep(fault_every_s)  # the load itself
            faults.inject_next()
        time.sleep(max(0.0, ends - time.monotonic()))
    finally:
        stop.set()
        for thread in threads:
            thread.join(SETTLE_S)
        watch.stop()

    assert [seen for owner in owners for seen in owner.wrong] == []
    assert all(owner.done >= 1 for owner in owners)
    answers = [answer for owner in owners for answer in owner.recorder.answers]
    accepted = _accepted(answers)
    until(lambda: _open_jobs(stack) == [], "the end of every job", SETTLE_S)
    until(lambda: not read(stack.database_url)["checkpoints"], "the removal of all states", 30)
    assert violations(answers, stack.database_url) == []
    assert accepted
    _require_no_leftovers(stack, temporary, faults)
    for name, samples in watch.samples.items():
        shown = (
            f"{name}: {[(round(seen.at_s), round(seen.memory_mb), seen.files, seen.threads) for seen in samples[::30]]}"
        )
        assert growth([seen.memory_mb for seen in samples]) < MOST_GROWTH_MB, shown
        assert growth([seen.files for seen in samples]) <= MOST_GROWTH_FILES, shown
        assert growth([seen.threads for seen in samples]) <= MOST_GROWTH_THREADS, shown
        print(shown)
    print(f"{len(accepted)} jobs accepted, {len(answers)} answers, faults: {faults.injected}")


def _owners(stack: Stack, stop: threading.Event, folder: Path) -> list[Owner]:
    database = Database(stack.database_url)
    try:
        with database.write() as session:
            names = [f"owner-{number}" for number in range(OWNERS)]
            return [Owner(name, keys.make(session, name), stack.url, folder, stop) for name in names]
    finally:
        database.dispose()


def _accepted(answers: list[Answer]) -> set[str]:
    return {
        str(seen.body["id"]) for seen in answers if (seen.method, seen.path, seen.status) == ("POST", "/v1/jobs", 201)
    }


def _open_jobs(stack: Stack) -> list[str]:
    over = ("succeeded", "failed", "cancelled")
    return [row["id"] for row in read(stack.database_url)["jobs"] if row["status"] not in over]


def _require_no_leftovers(stack: Stack, temporary: Path, faults: Faults) -> None:
    """Check that no row lacks its job, no file its row, and that temporary folders are empty."""
    tables = read(stack.database_url)
    jobs = {row["id"] for row in tables["jobs"]}
    for table in ("attempts", "epochs", "checkpoints", "results", "artifacts"):
        assert {row["job_id"] for row in tables[table]} <= jobs, table
    assert {row["subject_id"] for row in tables["events"] if row["subject_object"] == "job"} <= jobs
    database, blobs = Database(stack.database_url), Blobs(stack.environment["HELDOUT_BLOBS"])
    try:
        found = check_deep(database, blobs, stack.folder / "none", collect=True, young=timedelta(0))
        assert found.faults == []
        assert len(found.orphans) <= ORPHANS_PER_KILL * faults.kills, [seen.key for seen in found.orphans]
        assert check_deep(database, blobs, stack.folder / "none", collect=False, young=timedelta(0)).orphans == []
    finally:
        database.dispose()
    for worker in stack.workers:
        worker.stop()
    assert stack.api is not None
    stack.api.stop()
    assert [path.name for path in temporary.iterdir()] == []
