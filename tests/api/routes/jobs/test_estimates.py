"""Times are reported after a worker has measured its machine, and not before."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from analysis.scheduling.cost import Speed
from analysis.scheduling.queueing import ASSUMED_AROUND_EPOCHS_S as AROUND_S
from heldout.access.rights import Quota
from models.store import calibrations, claims, owners
from models.store.claims import Capacity
from tests.api.support import sqlite_only, submitted, with_field

# Their SQL is proven on both databases by tests/models/store.
pytestmark = sqlite_only

# Half a second for each of the 113 steps of an epoch, and nothing else.
SPEED = Speed(training={"step": 0.5}, measuring={}, training_share=0.5, measuring_share=1.0)
EPOCH_S = 3600 / 32 * 0.5


@pytest.fixture
def calibrated(worker):
    with worker.database.write() as session:
        calibrations.keep(session, host="box", device="cpu", facts={}, speed=asdict(SPEED))


@pytest.mark.usefixtures("calibrated")
def test_a_dry_run_tells_the_seconds_of_an_epoch_of_a_job_alone(client, spec):
    def told(**changes):
        body = spec
        for path, value in changes.items():
            body = with_field(body, path.replace("__", "."), value)
        return client.post("/v1/jobs?dry_run=true", json=body).json()["seconds_per_epoch"]

    assert told(resources__towers=1) == pytest.approx(EPOCH_S)
    assert told(resources__towers=2) == told() == pytest.approx(EPOCH_S / 2)
    assert told(resources__device="gpu") is None
    assert told(resources__gpus=2) is None
    assert told(training__precision="mixed") is None  # the processor has no units for it


@pytest.mark.usefixtures("calibrated")
def test_the_queue_tells_when_a_job_should_start(client, worker, spec):
    spec = with_field(spec, "training.epochs", 2)
    first, second, third = (submitted(client, spec)["id"] for _ in range(3))
    start = lambda job: client.get(f"/v1/jobs/{job}/queue").json()["estimated_start_s"]  # noqa: E731
    assert start(first) is None  # no one knows when a worker comes
    held = worker.claim()
    assert held.job_id == first
    assert start(first) is None
    assert start(second) == pytest.approx(2 * EPOCH_S + AROUND_S, abs=2)
    assert start(third) == pytest.approx(4 * EPOCH_S + 2 * AROUND_S, abs=2)
    worker.epoch(held, 1)  # with 3 s left
    assert start(second) == pytest.approx(3 + AROUND_S / 2, abs=0.1)
    assert start(third) == pytest.approx(3 + 1.5 * AROUND_S + 2 * EPOCH_S, abs=0.1)


@pytest.mark.usefixtures("calibrated")
def test_the_queue_knows_of_quotas(client, worker, spec):
    def start() -> float | None:
        return client.get(f"/v1/jobs/{waiting}/queue").json()["estimated_start_s"]

    def limit(**bounds: int | str) -> None:
        with worker.database.write() as session:
            owners.limit(session, "ada", changes={Quota(name): bound for name, bound in bounds.items()})

    spec = with_field(spec, "training.epochs", 2)
    for _ in range(2):
        submitted(client, spec)
    ended, running = worker.claim(), worker.claim()
    waiting = submitted(client, spec)["id"]
    worker.epoch(running, 1)  # with 3 s left
    worker.epoch(ended, 1)
    worker.succeed(ended)  # its slot is free
    assert start() == 0
    limit(running_jobs=1)
    assert start() >= 3
    limit(running_jobs=0)
    worker.fail(running)
    assert start() is None
    limit(running_jobs="default", slot_seconds=0)
    with worker.database.write() as session:
        assert claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60) is None  # by which the owner is held
    midnight = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert start() == pytest.approx((midnight - datetime.now(UTC)).total_seconds(), abs=5)


def test_nothing_is_reported_where_nothing_was_measured(client, worker, spec):
    submitted(client, spec)
    second = submitted(client, spec)["id"]
    worker.claim()
    assert client.post("/v1/jobs?dry_run=true", json=spec).json()["seconds_per_epoch"] is None
    assert client.get(f"/v1/jobs/{second}/queue").json()["estimated_start_s"] is None
