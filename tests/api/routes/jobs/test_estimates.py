"""Times are estimated only after a worker has measured its machine."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from analysis.scheduling.cost import Speed
from analysis.scheduling.queueing import ASSUMED_AROUND_EPOCHS_S as AROUND_S
from heldout.access.rights import Quota
from heldout.work.kinds import JobKind
from models.store import calibrations, claims, owners
from models.store.claims import Capacity
from models.tables import JobRow
from tests.api.support import sqlite_only, submit, with_field

# tests/models/store proves the SQL on both databases.
pytestmark = sqlite_only

# Each of the 113 steps of an epoch takes half a second, and nothing else takes time.
SPEED = Speed(training={"step": 0.5}, measuring={}, training_share=0.5, measuring_share=1.0)
EPOCH_S = 3600 / 32 * 0.5


@pytest.fixture
def calibrated(worker):
    with worker.database.write() as session:
        calibrations.keep(session, host="box", device="cpu", facts={}, speed=asdict(SPEED))


@pytest.mark.usefixtures("calibrated")
def test_a_dry_run_estimates_the_seconds_per_epoch(client, spec):
    def estimate(**changes):
        body = spec
        for path, value in changes.items():
            body = with_field(body, path.replace("__", "."), value)
        return client.post("/v1/jobs?dry_run=true", json=body).json()["seconds_per_epoch"]

    assert estimate(resources__towers=1) == pytest.approx(EPOCH_S)
    assert estimate(resources__towers=2) == estimate() == pytest.approx(EPOCH_S / 2)
    assert estimate(resources__device="gpu") is None
    assert estimate(resources__gpus=2) is None
    assert estimate(training__precision="mixed") is None  # the CPU does not support it


@pytest.mark.usefixtures("calibrated")
def test_the_queue_estimates_when_a_job_starts(client, worker, spec):
    spec = with_field(spec, "training.epochs", 2)
    first, second, third = (submit(client, spec)["id"] for _ in range(3))
    start = lambda job: client.get(f"/v1/jobs/{job}/queue").json()["estimated_start_s"]  # noqa: E731
    assert start(first) is None  # no worker has appeared yet
    held = worker.claim()
    assert held.job_id == first
    assert start(first) is None
    assert start(second) == pytest.approx(2 * EPOCH_S + AROUND_S, abs=2)
    assert start(third) == pytest.approx(4 * EPOCH_S + 2 * AROUND_S, abs=2)
    worker.epoch(held, 1)  # with 3 s left
    assert start(second) == pytest.approx(3 + AROUND_S / 2, abs=0.1)
    assert start(third) == pytest.approx(3 + 1.5 * AROUND_S + 2 * EPOCH_S, abs=0.1)


@pytest.mark.usefixtures("calibrated")
def test_searches_that_yield_do_not_delay_the_estimated_start(client, worker, spec):
    running, waiting = (submit(client, spec)["id"] for _ in range(2))
    search, next_search = (submit(client, spec)["id"] for _ in range(2))
    with worker.database.write() as session:
        for job_id in (search, next_search):
            session.get_one(JobRow, job_id).priority = 1
    worker.claim()
    start = lambda: client.get(f"/v1/jobs/{waiting}/queue").json()["estimated_start_s"]  # noqa: E731
    assert start() > 0
    with worker.database.write() as session:
        for job_id in (running, search, next_search):
            session.get_one(JobRow, job_id).kind = JobKind.SUSPECT
    assert start() == 0


@pytest.mark.usefixtures("calibrated")
def test_queue_estimates_respect_quotas(client, worker, spec):
    def queue() -> dict:
        return client.get(f"/v1/jobs/{waiting}/queue").json()

    def start() -> float | None:
        return queue()["estimated_start_s"]

    def limit(**bounds: int | str) -> None:
        with worker.database.write() as session:
            owners.limit(session, "ada", changes={Quota(name): bound for name, bound in bounds.items()})

    spec = with_field(spec, "training.epochs", 2)
    for _ in range(2):
        submit(client, spec)
    ended, running = worker.claim(), worker.claim()
    waiting = submit(client, spec)["id"]
    worker.epoch(running, 1)  # with 3 s left
    worker.epoch(ended, 1)
    worker.succeed(ended)  # its slot is free
    assert (start(), queue()["waiting_for"]) == (0, "worker")
    limit(running_jobs=1)
    assert start() >= 3
    assert queue()["waiting_for"] == "quota"
    limit(running_jobs=0)
    worker.fail(running)
    assert start() is None
    limit(running_jobs="default")
    assert queue()["waiting_for"] == "worker"
    limit(slot_seconds=0)
    assert queue()["waiting_for"] == "quota"
    with worker.database.write() as session:
        assert (
            claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60) is None
        )  # the quota keeps the owner waiting
    midnight = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert start() == pytest.approx((midnight - datetime.now(UTC)).total_seconds(), abs=5)
    limit(slot_seconds="default")
    with worker.database.write() as session:
        owners.suspend(session, "ada")
    assert queue()["waiting_for"] == "quota"


def test_no_estimate_is_reported_without_a_measurement(client, worker, spec):
    submit(client, spec)
    second = submit(client, spec)["id"]
    worker.claim()
    assert client.post("/v1/jobs?dry_run=true", json=spec).json()["seconds_per_epoch"] is None
    assert client.get(f"/v1/jobs/{second}/queue").json()["estimated_start_s"] is None
