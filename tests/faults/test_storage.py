"""An object store is away at the moments when a worker needs it to start a job."""

import os
import signal
from contextlib import suppress

import pytest

from tests.e2e.running import until
from tests.e2e.stack import SHORT, Program, Stack, long_digits
from tests.faults.conftest import require_ended_in_order
from tests.faults.history import read
from tests.faults.marks import on
from tests.object_store import S3Server

TRIES = 3  # of a worker that waits for the store; each takes longer than the library's own retries


@pytest.fixture
def settings(s3_url: str) -> dict[str, str]:
    return SHORT | {"HELDOUT_BLOBS": s3_url, "AWS_TIMEOUT": "1s"}


@on()
@pytest.mark.parametrize("elsewhere", [False, pytest.param(True, marks=pytest.mark.proof)])
def test_a_store_that_is_away_at_a_resume_costs_no_checkpoint(
    stack: Stack, s3_server: S3Server, elsewhere: bool
) -> None:
    [worker] = stack.start(workers=1)
    whole = stack.submit(long_digits(18))
    stack.wait_for_end(whole)
    job_id = stack.submit(long_digits(18))
    stack.wait_for_epoch(job_id, 5)
    s3_server.pause()
    if elsewhere:
        worker.kill_all()
        worker = stack.start_worker()  # it has no copy of the dataset either
    else:
        _kill_training(worker)
    stack.wait_for_attempt(job_id, attempt=2)
    _until_waiting(worker, job_id, TRIES)
    assert stack.job(job_id)["attempt"] == 2
    stored = [event["data"]["epoch"] for event in stack.events(job_id) if event["type"] == "job.checkpoint"]
    s3_server.resume()
    job = stack.wait_for_end(job_id)
    assert (job["status"], job["attempt"], job["failures"]) == ("succeeded", 2, 1), stack.events(job_id)
    starts = {row["attempt"]: row["start_epoch"] for row in read(stack.database_url)["attempts"] if _is_of(row, job_id)}
    assert starts == {1: 0, 2: max(stored)}
    assert max(stored) >= 4
    assert stack.history(job_id) == stack.history(whole)
    require_ended_in_order(stack)


@on()
@pytest.mark.parametrize("how", ["cancel", "pause", "stop"])
def test_a_job_that_waits_for_a_store_can_be_cancelled_paused_and_given_back(
    stack: Stack, s3_server: S3Server, how: str
) -> None:
    [worker] = stack.start(workers=1)
    s3_server.pause()
    job_id = stack.submit(long_digits(4))
    stack.wait_for_attempt(job_id)
    _until_waiting(worker, job_id, 1)  # for its dataset, or to store its model if another job has fetched the dataset
    if how == "stop":
        assert worker.stop(within_s=60) == 0
        expected = "queued"
    else:
        stack.ask("POST", f"/v1/jobs/{job_id}/{how}")
        expected = {"cancel": "cancelled", "pause": "paused"}[how]
    # This happens at the end of a try, which may take over ten seconds. After the last try the job would fail.
    until(lambda: stack.job(job_id)["status"] == expected, expected)
    job = stack.job(job_id)
    assert (job["attempt"], job["failures"]) == (1, 0)
    s3_server.resume()
    if how == "stop":
        stack.start_worker()
    elif how == "pause":
        stack.ask("POST", f"/v1/jobs/{job_id}/resume")
    require_ended_in_order(stack)
    if how != "cancel":
        assert stack.job(job_id)["status"] == "succeeded"


def _until_waiting(worker: Program, job_id: str, tries: int) -> None:
    """Wait until the worker has tried this many times in vain to reach the store for this job."""

    def has_tried() -> bool:
        of_job = [line for line in worker.read_log().splitlines() if job_id in line and '"storage_unavailable"' in line]
        return len(of_job) >= tries

    until(has_tried, f"{tries} tries of the store")


def _kill_training(worker: Program) -> None:
    for pid in worker.trainings():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_of(row: dict[str, object], job_id: str) -> bool:
    return row["job_id"] == job_id
