"""What happens to jobs when a client changes its mind, or a process, a worker or the whole service ends."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from heldout.client.client import ApiProblem, Client
from tests.e2e.running import (
    ROOT,
    Service,
    event_types,
    history,
    list_label_reads,
    lives,
    make_validation_reads,
    spec,
    tree_of,
    until,
    wait_for_end,
    wait_for_epoch,
)
from tests.e2e.stack import digits, long_digits

MakeService = Callable[..., Service]

EPOCHS = 16


@pytest.fixture(scope="module")
def uninterrupted(service: Service) -> list[dict[str, Any]]:
    """The history of the short job, which other tests interrupt."""
    with service.client() as client:
        job = client.jobs.create(long_digits(EPOCHS)).id
        wait_for_end(client, job)
        return history(client, job)


def test_a_cancel_ends_the_process_and_keeps_complete_epochs_with_their_weights_and_state(
    service: Service, client: Client, tmp_path: Path
) -> None:
    job = client.jobs.create(long_digits(1000)).id
    wait_for_epoch(client, job, 2)
    training = service.training_pids()
    assert training
    for pid in training:
        # Importing TensorFlow or Keras maps TensorFlow's libraries.
        assert "/tensorflow/" in mapped_files(pid)
        # It does not load the supervisor's libraries: importing them would take longer than the rest of its start.
        assert "obstore" not in mapped_files(pid)
    assert "/tensorflow/" not in mapped_files(service.worker_pid())
    assert "/tensorflow/" not in mapped_files(service.pid)
    assert client.jobs.cancel(job).status == "cancelling"
    assert client.jobs.cancel(job).status in {"cancelling", "cancelled"}
    assert wait_for_end(client, job).stop_reason == "cancelled"
    until(lambda: not any(map(lives, training)), "the end of the process", within_s=60)
    assert len(client.jobs.metrics(job).epochs) >= 2
    types = event_types(client, job)
    assert types[-1] == "job.cancelled"
    assert "job.succeeded" not in types
    with pytest.raises(ApiProblem) as refused:
        client.jobs.cancel(job)
    assert (refused.value.status, refused.value.code) == (409, "job_finished")
    assert client.jobs.download_model(job, tmp_path / "model.keras") > 0
    done = client.jobs.get(job).progress.epoch
    assert list_label_reads(service, job) == make_validation_reads(done)
    again = client.jobs.retry(job, epochs=done + 1).id
    assert wait_for_end(client, again).status == "succeeded"
    assert client.jobs.metrics(again).epochs[:done] == client.jobs.metrics(job).epochs
    assert [epoch.epoch for epoch in client.jobs.metrics(again).epochs] == list(range(1, done + 2))


def mapped_files(pid: int) -> str:
    """Return the files that are mapped into a process's memory: its program and libraries."""
    return Path(f"/proc/{pid}/maps").read_text()


def test_a_paused_job_frees_its_slot_and_continues_with_the_same_history(
    service: Service, client: Client, uninterrupted: list[dict[str, Any]]
) -> None:
    job = client.jobs.create(long_digits(EPOCHS)).id
    wait_for_epoch(client, job, 3)
    client.jobs.pause(job)
    until(lambda: client.jobs.get(job).status == "paused", "the pause")
    until(lambda: not service.training_pids(), "the end of the process", within_s=60)
    client.jobs.resume(job)
    assert wait_for_end(client, job).status == "succeeded"
    assert client.jobs.get(job).attempt == 2
    assert client.jobs.get(job).failures == 0
    assert history(client, job) == uninterrupted
    assert list_label_reads(service, job) == [("test", EPOCHS, "measured"), *make_validation_reads(EPOCHS)]


def test_a_killed_process_is_a_failure_with_a_reason_and_its_last_log_lines(
    service: Service, client: Client, uninterrupted: list[dict[str, Any]]
) -> None:
    job = client.jobs.create(long_digits(EPOCHS)).id
    wait_for_epoch(client, job, 2)
    for pid in service.training_pids():
        os.kill(pid, signal.SIGKILL)
    assert wait_for_end(client, job).status == "succeeded"
    assert client.jobs.get(job).failures == 1
    warnings = [event for event in client.jobs.events(job) if event.type == "job.warning"]
    assert warnings[0].data["exit_code"] == -signal.SIGKILL
    assert isinstance(warnings[0].data["log"], list)
    requeued = next(event for event in client.jobs.events(job) if event.type == "job.requeued")
    assert "SIGKILL" in requeued.message
    # It continued from the last checkpoint: its figures show no trace of the interruption.
    assert history(client, job) == uninterrupted
    assert list_label_reads(service, job) == [("test", EPOCHS, "measured"), *make_validation_reads(EPOCHS)]


def test_a_job_past_its_deadline_keeps_its_complete_epochs_and_succeeds(client: Client) -> None:
    for limit_s in (3, 10, 60):  # a busy machine may need more for the first epoch
        job = wait_for_end(client, client.jobs.create(long_digits(1000) | {"limits": {"max_runtime_s": limit_s}}).id)
        if job.status == "succeeded":
            break
    assert (job.status, job.stop_reason) == ("succeeded", "deadline")
    metrics = client.jobs.metrics(job.id)
    assert 1 <= len(metrics.epochs) < 1000
    assert metrics.final.epoch == len(metrics.epochs)


@pytest.mark.timeout(900)
def test_a_service_that_is_stopped_or_killed_leaves_no_process_and_its_next_start_continues_with_its_jobs(
    temporary: Path, make_service: MakeService
) -> None:
    # Variables that are meant for other programs change nothing.
    inherited = {"DATABASE_URL": "postgresql://other:wrong@127.0.0.1:1/nothing", "REDIS_URL": "redis://127.0.0.1:1"}
    service = make_service(TMPDIR=str(temporary), PORT="1", **inherited).start()
    assert (service.home / "heldout.db").exists()
    with service.client() as client:
        job = client.jobs.create(long_digits(20)).id
        wait_for_epoch(client, job, 2)
    below = tree_of(service.pid)
    assert service.stop() == 0
    until(lambda: not any(map(lives, below)), "the end of all processes", within_s=60)
    assert not (service.home / "service.json").exists()
    assert list((service.home / "scratch").iterdir()) == []
    assert list(temporary.iterdir()) == []
    with service.start().client() as client:
        stopped_at = client.jobs.get(job).progress.epoch
        until(lambda: client.jobs.get(job).attempt == 2, "the next attempt", within_s=60)
        wait_for_epoch(client, job, stopped_at + 1)
    below = tree_of(service.pid)
    os.kill(service.pid, signal.SIGKILL)
    until(lambda: not any(map(lives, below)), "the end of all processes", within_s=60)
    service.process.wait(60)  # type: ignore[union-attr]
    (service.home / "service.json").unlink(missing_ok=True)
    left = set(temporary.iterdir())
    with service.start().client() as client:
        # Long before the lease of 60 s has run out.
        until(lambda: client.jobs.get(job).attempt == 3, "the attempt after the kill", within_s=60)
        finished = wait_for_end(client, job)
        assert (finished.status, finished.attempt, finished.failures) == ("succeeded", 3, 0)
        requeued = [event for event in client.jobs.events(job) if event.type == "job.requeued"]
        assert requeued[0].data["reason"] == "release"
        assert [epoch.epoch for epoch in client.jobs.metrics(job).epochs] == list(range(1, 21))
    assert left & set(temporary.iterdir()) == set(), "the start after a kill removes what the killed service left"
    service.stop(signal.SIGINT)
    assert list(temporary.iterdir()) == []
    assert list((service.home / "scratch").iterdir()) == []


@pytest.mark.proof
def test_a_worker_that_dies_is_replaced_and_its_job_continues(make_service: MakeService) -> None:
    service = make_service().start()
    with service.client() as client:
        job = client.jobs.create(spec("overfit", epochs=8)).id
        wait_for_epoch(client, job, 2)
        worker, training = service.worker_pid(), service.training_pids()
        os.kill(worker, signal.SIGKILL)
        until(lambda: not any(map(lives, [worker, *training])), "the end of worker and training", within_s=60)
        finished = wait_for_end(client, job)
        assert (finished.status, finished.attempt, finished.failures) == ("succeeded", 2, 1)


def test_a_second_service_in_the_same_home_says_so_in_one_line(service: Service) -> None:
    second = _up(service.home, "--port", "0")
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "already runs" in second.stderr
    with service.client() as client:
        assert client.datasets.get("digits").status == "ready"


def test_a_port_that_is_taken_is_reported_in_one_line(service: Service, tmp_path: Path) -> None:
    port = service.url.rpartition(":")[2]
    second = _up(tmp_path / "other", "--port", port)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert port in second.stderr


def test_a_locked_database_is_a_503_and_makes_the_worker_wait_and_both_recover(
    service: Service, client: Client
) -> None:
    job = client.jobs.create(long_digits(12)).id
    wait_for_epoch(client, job, 1)
    jobs = len(list(client.jobs.list()))
    key = (service.home / "api-key").read_text().strip()
    with closing(sqlite3.connect(service.home / "heldout.db", isolation_level=None, timeout=30)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        answer = httpx2.post(
            f"{service.url}/v1/jobs",
            json=digits(),
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )
        assert answer.status_code == 503
        assert answer.json()["code"] == "database_unavailable"
        assert int(answer.headers["Retry-After"]) >= 1
        lock.execute("ROLLBACK")
    finished = wait_for_end(client, job)
    assert (finished.status, finished.attempt) == ("succeeded", 1), list(client.jobs.events(job))
    assert [epoch.epoch for epoch in client.jobs.metrics(job).epochs] == list(range(1, 13))
    assert len(list(client.jobs.list())) == jobs


def _up(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api", "up", "--home", str(home), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
