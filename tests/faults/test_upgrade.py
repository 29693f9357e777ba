"""A service with data is upgraded from an earlier release's code and tables, with workers of both at once."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from models import migrations
from models.database import Database
from tests.e2e.running import ROOT, until
from tests.e2e.stack import OWNER, SHORT, TERMINAL, Stack, digits, long_digits
from tests.faults.conftest import require_ended_in_order
from tests.faults.history import read
from tests.faults.marks import CELERY, SQLITE
from tests.servers import PostgresServer, RedisServer
from tests.servers_fixtures import empty_postgres

# The earlier release is the last one without this migration.
FIRST_LATER_MIGRATION = "alembic/versions/0012_mending.py"
EARLIER_REVISION = "0011"

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def earlier_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier release, from this repository's history: a shallow clone does not have it."""
    added = git("log", "-1", "--diff-filter=A", "--format=%H", "--", FIRST_LATER_MIGRATION).decode().strip()
    folder = tmp_path_factory.mktemp("earlier")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=git("archive", f"{added}^1"), check=True)
    assert not (folder / FIRST_LATER_MIGRATION).exists()
    # That release counted requests with a library that is no longer installed; nothing here needs these counts.
    counting = folder / "prometheus_fastapi_instrumentator"
    counting.mkdir()
    (counting / "__init__.py").write_text("from unittest.mock import MagicMock\n\nInstrumentator = MagicMock()\n")
    (counting / "metrics.py").write_text("from unittest.mock import MagicMock\n\nInfo = default = MagicMock()\n")
    return folder


class EarlierStack(Stack):
    """A stack whose processes run the earlier release, until `root` is another folder."""

    code: Path

    def command(self, *words: str, root: Path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "api", *words],
            cwd=root,
            env=self.environment | {"HELDOUT_HOME": str(self.folder / "commands")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _register(self, database: Database) -> None:
        self.root = self.code
        self.command("migrate", root=self.code)

    def _make_key(self, database: Database) -> str:
        return self.command("keys", "create", "--owner", OWNER, root=self.code)


@pytest.fixture
def stack(kind: str, tmp_path: Path, earlier_code: Path, request: pytest.FixtureRequest) -> Iterator[EarlierStack]:
    of = type("ThisStack", (EarlierStack,), {"code": earlier_code})
    if kind == SQLITE:
        made = of(tmp_path / "stack", f"sqlite:///{tmp_path / 'heldout.db'}", **SHORT)
        yield made
        made.close()
        return
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    broker: RedisServer = request.getfixturevalue("redis_server")
    admin = create_engine(postgres.url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    with empty_postgres(admin) as url:
        made = of(tmp_path / "stack", url, broker.url, **SHORT)
        yield made
        made.close()
    admin.dispose()


def revision_of(stack: Stack) -> str | None:
    database = Database(stack.database_url)
    try:
        return migrations.get_current(database)
    finally:
        database.dispose()


def _open_jobs(stack: Stack) -> set[str]:
    """Return the trainings that have not ended."""
    of_kind = [row for row in read(stack.database_url)["jobs"] if row["kind"] == "train"]
    return {row["id"] for row in of_kind if row["status"] not in TERMINAL}


@pytest.mark.parametrize("kind", [SQLITE, CELERY], indirect=True)
def test_an_upgrade_keeps_results_and_lets_running_jobs_continue_next_to_workers_of_both_releases(
    stack: EarlierStack, kind: str
) -> None:
    assert revision_of(stack) == EARLIER_REVISION
    [earlier] = stack.start(workers=1)
    done = stack.submit(digits(epochs=3))
    assert stack.wait_for_end(done)["status"] == "succeeded"
    model = stack.ask("GET", f"/v1/jobs/{done}/model").content
    metrics = stack.ask("GET", f"/v1/jobs/{done}/metrics").json()
    whole, running = stack.submit(long_digits(60)), None
    assert stack.wait_for_end(whole)["status"] == "succeeded"
    running = stack.submit(long_digits(60))
    stack.wait_for_epoch(running, 2)
    waiting = [stack.submit(digits()) for _ in range(3)]

    stack.command("migrate", root=ROOT)
    assert revision_of(stack) == migrations.get_newest()
    stack.root = ROOT
    later = stack.start_worker()
    # The earlier API runs as long as its workers: they do not know the fields that the later API writes.
    ends_at = time.monotonic() + float(os.environ.get("UPGRADE_SECONDS", "60"))
    jobs = list(waiting)
    while time.monotonic() < ends_at:
        jobs += [stack.submit(digits(epochs=2)) for _ in range(4)]
        # Read from the rows, because the earlier API does not know the fields that later workers write into specs.
        until(lambda: _open_jobs(stack) <= {running}, "the end of four jobs")
    until(lambda: _open_jobs(stack) == set(), "the end of the long job")
    assert earlier.lives(), earlier.read_log()[-2000:]
    assert earlier.stop() == 0
    assert stack.api is not None
    stack.api.stop()
    stack.start_api()
    require_ended_in_order(stack)
    assert {stack.holder(job_id).name for job_id in jobs} == {earlier.name, later.name}
    assert {stack.job(job_id)["status"] for job_id in [*jobs, running]} == {"succeeded"}

    assert stack.ask("GET", f"/v1/jobs/{done}/model").content == model
    after = stack.ask("GET", f"/v1/jobs/{done}/metrics").json()
    assert after["epochs"] == metrics["epochs"]
    assert {name: after["final"][name] for name in metrics["final"]} == metrics["final"]
    assert stack.history(running) == stack.history(whole)
    assert stack.ask("GET", f"/v1/jobs/{done}/diagnosis").status_code == 200
    again = stack.submit(digits(epochs=3))
    assert stack.wait_for_end(again)["status"] == "succeeded"
