"""A service is backed up under load, destroyed, restored and started: finished jobs are as before."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from models.database import Database
from tests.e2e.running import ROOT, Service, wait_for_end
from tests.e2e.stack import SHORT, TERMINAL, Stack, digits, long_digits
from tests.faults.marks import on
from tests.servers_fixtures import empty_postgres

pytestmark = pytest.mark.timeout(600)

# The load during the backup.
MOST_JOBS = 12


def command(environment: Mapping[str, str], *words: str) -> dict[str, Any]:
    """Run a command of the server, and return its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "api", *words, "--json"],
        cwd=ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def other_database(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of the stack's kind."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'restored' / 'heldout.db'}"
    else:
        with empty_postgres(request.getfixturevalue("postgres_admin")) as url:
            yield url


def results(stack: Stack, job_ids: list[str]) -> dict[str, tuple[Any, bytes]]:
    """Return the served metrics and model of each job."""
    return {
        job_id: (
            stack.ask("GET", f"/v1/jobs/{job_id}/metrics").json(),
            stack.ask("GET", f"/v1/jobs/{job_id}/model").content,
        )
        for job_id in job_ids
    }


def _destroy(database_url: str) -> None:
    database = Database(database_url)
    with database.write() as session:
        if database.engine.dialect.name == "postgresql":
            session.execute(text("DROP SCHEMA public CASCADE"))
    database.dispose()
    if database_url.startswith("sqlite"):
        Path(database_url.partition("///")[2]).unlink()


@on()
def test_a_drill_under_load_restores_every_finished_job(stack: Stack, other_database: str, tmp_path: Path) -> None:
    stack.start(workers=2)
    stop, submitted = threading.Event(), list[str]()

    def load() -> None:
        with httpx2.Client(base_url=stack.url, headers={"Authorization": f"Bearer {stack.key}"}, timeout=30) as http:
            while not stop.is_set() and len(submitted) < MOST_JOBS:
                with suppress(httpx2.TransportError):
                    answer = http.post("/v1/jobs", json=digits(epochs=3))
                    submitted.append(answer.json()["id"])
                stop.wait(0.5)

    first = [stack.submit(digits(epochs=2)) for _ in range(3)]
    running = stack.submit(long_digits(60))
    loading = threading.Thread(target=load)
    loading.start()
    try:
        for job_id in first:
            assert stack.wait_for_end(job_id)["status"] == "succeeded"
        stack.wait_for_epoch(running, 2)
        before = [job for job in [*first, *submitted] if stack.job(job)["status"] == "succeeded"]
        made = command(stack.environment, "backup", str(tmp_path / "backup"))
    finally:
        stop.set()
        loading.join()
    assert all("/checkpoint-" in key for key in made["missing"]), made["missing"]
    expected = results(stack, before)
    assert len(expected) >= len(first)

    stack.close()
    shutil.rmtree(stack.blobs)
    _destroy(stack.database_url)
    blobs = tmp_path / "restored" / "blobs"
    stack.database_url = other_database
    stack.environment |= {"HELDOUT_DATABASE_URL": other_database, "HELDOUT_BLOBS": blobs.as_uri()}
    command(stack.environment, "restore", str(tmp_path / "backup"))

    stack.workers.clear()
    stack.start(workers=2)
    assert results(stack, before) == expected
    listed = stack.ask("GET", "/v1/jobs?limit=200").json()["data"]
    assert {job["id"] for job in listed} >= {*before, running}
    for job in listed:
        assert stack.wait_for_end(job["id"], within_s=300)["status"] == "succeeded"
    assert stack.job(running)["failures"] == 0
    assert len(stack.history(running)) == 60
    checked = command(stack.environment, "check", "--deep")
    assert checked["files"]["faults"] == []
    assert {job["status"] for job in stack.ask("GET", "/v1/jobs?limit=200").json()["data"]} <= TERMINAL


@pytest.mark.proof
def test_a_home_is_backed_up_while_it_serves_and_while_it_is_stopped(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HELDOUT_")}
    with ExitStack() as services:
        service = Service(tmp_path / "home", **SHORT)
        services.callback(service.close)
        service.start()
        with service.client() as client:
            job = client.jobs.create(digits(epochs=2)).id
            assert wait_for_end(client, job).status == "succeeded"
            metrics = client.jobs.metrics(job)
            client.jobs.download_model(job, tmp_path / "model.keras")
        command(kept, "backup", str(tmp_path / "serving"), "--home", str(service.home))
        service.stop()
        command(kept, "backup", str(tmp_path / "stopped"), "--home", str(service.home))
        for name in ("serving", "stopped"):
            home = tmp_path / f"home-of-{name}"
            command(kept, "restore", str(tmp_path / name), "--home", str(home))
            restored = Service(home, **SHORT)
            services.callback(restored.close)
            restored.start()
            with restored.client() as client:
                assert client.jobs.metrics(job) == metrics
                client.jobs.download_model(job, tmp_path / name / "model.keras")
            assert (tmp_path / name / "model.keras").read_bytes() == (tmp_path / "model.keras").read_bytes()
            restored.stop()
