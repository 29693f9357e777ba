"""Stacks for tests to damage: on SQLite with local workers, and on PostgreSQL with a broker and Celery workers."""

import io
import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.running import until
from tests.e2e.stack import SHORT, Stack, stack_on
from tests.faults.history import read, violations
from tests.servers import PostgresServer, RedisServer

Away = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of stack, which a test names: `sqlite` or `celery`."""
    return str(getattr(request, "param", "celery"))


@pytest.fixture
def settings() -> dict[str, str]:
    """Settings of all processes; a test changes them before it asks for the stack."""
    return dict(SHORT)


@pytest.fixture
def stack(kind: str, settings: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack without any running process."""
    if kind == "sqlite":
        made = Stack(tmp_path / "stack", request.getfixturevalue("sqlite_url"), **settings)
        yield made
        made.close()
        return
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    broker: RedisServer = request.getfixturevalue("redis_server")
    with stack_on(tmp_path / "stack", postgres, broker, **settings) as made:
        yield made


@pytest.fixture
def database_away(kind: str, stack: Stack, request: pytest.FixtureRequest) -> Away:
    """A block without a database: PostgreSQL is stopped, or SQLite is locked by another process."""

    @contextmanager
    def stopped() -> Iterator[None]:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        server.stop()
        try:
            yield
        finally:
            server.start()

    @contextmanager
    def locked() -> Iterator[None]:
        file = stack.database_url.partition("///")[2]
        with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")

    return stopped if kind == "celery" else locked


@pytest.fixture
def broker(redis_server: RedisServer) -> RedisServer:
    """The broker of the Celery stack."""
    return redis_server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate file system of 24 MB, for tests that fill it."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "heldout-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"No small disk can be mounted here, which takes root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def require_ended_in_order(stack: Stack) -> None:
    """Check that all accepted jobs end, and that their history is in order."""
    for job_id in stack.accepted():
        stack.wait_for_end(job_id)
        stack.history(job_id)
    # A job that ended while it waited is tidied up by the next round of a worker's reconciler.
    until(lambda: not read(stack.database_url)["checkpoints"], "the removal of all checkpoints")
    found = violations(stack.recorder.answers, stack.database_url)
    assert not found, "\n".join(found)


def predictions_of(stack: Stack, job_id: str) -> dict[str, object]:
    """Return the arrays of a job's predictions as bytes, and the file's facts about the model without the job's id."""
    with np.load(io.BytesIO(stack.ask("GET", f"/v1/jobs/{job_id}/predictions").content)) as file:
        arrays = {name: file[name].tobytes() for name in file.files if name != "about"}
        about = json.loads(str(file["about"]))
    assert about.pop("job_id") == job_id
    assert about["weights_sha256"]
    return arrays | about
