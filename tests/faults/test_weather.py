"""Databases, brokers, disks and the API go away and come back: no accepted job is lost or done twice."""

import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
import redis

from tests.e2e.running import until
from tests.e2e.stack import LEASE_S, Stack, digits, long_digits, submit_promptly
from tests.faults.conftest import Away, require_ended_in_order
from tests.faults.marks import CELERY, on
from tests.servers import PostgresServer, RedisServer


@on(always=CELERY)
def test_a_job_whose_api_is_killed_after_the_commit_and_before_the_message_still_runs(
    stack: Stack, kind: str, request: pytest.FixtureRequest
) -> None:
    stack.start(workers=1)
    if kind == CELERY:
        broker: RedisServer = request.getfixturevalue("broker")
        broker.pause()  # the message cannot be sent, and the API cannot notice
    job_id = stack.submit(digits())
    assert stack.api is not None
    stack.api.kill()
    if kind == CELERY:
        broker.resume()
        with redis.Redis.from_url(broker.url) as client:
            assert client.llen("train") == 0
    # There is no API, so the worker must find the job by itself.
    stack.workers[0].wait_for_log("attempt_settled")
    stack.start_api()
    job = stack.wait_for_end(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    require_ended_in_order(stack)


@on()
def test_a_client_that_repeats_a_request_to_an_api_that_was_killed_meanwhile_has_one_job(stack: Stack) -> None:
    stack.start(workers=1)
    for number in range(6):
        key = {"Idempotency-Key": f"key {number}"}
        assert stack.api is not None
        api = stack.api

        def send(key: dict[str, str] = key) -> None:
            with suppress(httpx2.TransportError):
                stack.ask("POST", "/v1/jobs", json=digits(), headers=key)

        sending = threading.Thread(target=send)
        sending.start()
        time.sleep(0.01 * number)  # each time at a different point of the request
        api.kill()
        sending.join(240)
        stack.start_api()
        assert stack.ask("POST", "/v1/jobs", json=digits(), headers=key).status_code == 201
    assert len(stack.ask("GET", "/v1/jobs?limit=200").json()["data"]) == 6
    require_ended_in_order(stack)


@pytest.mark.proof
@on(always=CELERY)
def test_a_database_that_is_away_for_longer_than_a_lease_costs_no_attempt(stack: Stack, database_away: Away) -> None:
    stack.start(workers=1, HELDOUT_SLOTS="2")
    jobs = [stack.submit(long_digits(40)) for _ in range(2)]
    for job_id in jobs:
        stack.wait_for_epoch(job_id, 2)
    with database_away():
        away_until = time.monotonic() + 1.25 * LEASE_S
        # A lock on SQLite lets readers pass, but no job is accepted.
        assert stack.ask("POST", "/v1/jobs", json=digits()).status_code == 503
        time.sleep(max(0.0, away_until - time.monotonic()))  # the fault itself
    for job_id in jobs:
        job = stack.wait_for_end(job_id)
        assert (job["status"], job["attempt"], job["failures"]) == ("succeeded", 1, 0), stack.events(job_id)
    assert stack.history(jobs[0]) == stack.history(jobs[1])
    require_ended_in_order(stack)


@on(CELERY)
def test_a_database_that_answers_no_one_for_longer_than_a_lease_costs_no_attempt(
    stack: Stack, postgres_server: PostgresServer
) -> None:
    stack.start(workers=2)
    jobs = [stack.submit(long_digits(60)) for _ in range(2)]
    for job_id in jobs:
        stack.wait_for_epoch(job_id, 2)
    postgres_server.pause()
    time.sleep(1.5 * LEASE_S)  # the fault itself
    postgres_server.resume()
    for job_id in jobs:
        job = stack.wait_for_end(job_id)
        assert (job["status"], job["attempt"], job["failures"]) == ("succeeded", 1, 0), stack.events(job_id)
    require_ended_in_order(stack)


@on()
def test_a_database_that_comes_and_goes_loses_nothing(stack: Stack, database_away: Away) -> None:
    stack.start(workers=2)
    for _ in range(5):
        stack.submit(long_digits(20))
        with database_away():
            time.sleep(0.7)  # the fault itself
        until(lambda: stack.ask("POST", "/v1/jobs", json=digits()).status_code == 201, "an answer")
    require_ended_in_order(stack)
    for job_id in stack.accepted():
        assert stack.job(job_id)["status"] == "succeeded"


@on(CELERY)
def test_a_lost_job_is_taken_back_while_the_broker_is_silent_and_continues_when_it_speaks(
    stack: Stack, broker: RedisServer
) -> None:
    stack.start(workers=2)
    job_id = stack.submit(long_digits(60))
    stack.wait_for_epoch(job_id, 2)
    holder = stack.holder(job_id)
    broker.pause()
    holder.kill_all()
    assert stack.api is not None
    stack.api.kill()
    other = next(worker for worker in stack.workers if worker.lives())
    # The only reconciler left is that of a worker that is also waiting for the broker.
    other.wait_for_log("job_recovered")
    broker.resume()
    stack.start_api()
    assert stack.wait_for_end(job_id)["attempt"] == 2
    require_ended_in_order(stack)


@on(CELERY)
@pytest.mark.parametrize("how", ["down", "silent", "emptied"])
def test_a_broker_that_is_away_loses_no_job_and_starts_none_twice(stack: Stack, broker: RedisServer, how: str) -> None:
    stack.start(workers=2)
    stack.submit(long_digits(20))
    if how == "down":
        broker.stop()
    elif how == "silent":
        broker.pause()
    submit_promptly(stack, 6)
    if how == "down":
        broker.start()
    elif how == "silent":
        broker.resume()
    else:
        with redis.Redis.from_url(broker.url) as client:
            client.flushall()
    require_ended_in_order(stack)
    for job_id in stack.accepted():
        job = stack.job(job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", 1)


@on(CELERY)
def test_api_and_workers_that_start_before_their_database_and_broker_wait_for_them(
    stack: Stack, postgres_server: PostgresServer, broker: RedisServer
) -> None:
    postgres_server.stop()
    broker.stop()
    stack.start_api()
    worker = stack.start_worker(wait=False)
    assert stack.ask("GET", "/readyz").status_code == 503
    answer = stack.ask("POST", "/v1/jobs", json=digits())
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    worker.wait_for_log("Cannot connect to redis")
    assert worker.lives()
    broker.start()
    stack.until_ready(worker)
    postgres_server.start()
    until(lambda: stack.ask("GET", "/readyz").status_code == 200, "readiness", 30)
    stack.submit(digits())
    require_ended_in_order(stack)
    assert stack.job(stack.accepted()[0])["status"] == "succeeded"


@on()
def test_everything_is_restarted_at_once(stack: Stack, kind: str, request: pytest.FixtureRequest) -> None:
    stack.start(workers=2)
    done = stack.submit(digits())
    stack.wait_for_end(done)
    model = stack.ask("GET", f"/v1/jobs/{done}/model").content
    jobs = [stack.submit(long_digits(40)) for _ in range(4)]
    for job_id in jobs[:2]:
        stack.wait_for_epoch(job_id, 2)
    stack.close()
    if kind == CELERY:
        for name in ("postgres_server", "redis_server"):
            server = request.getfixturevalue(name)
            server.kill()
            server.start()
    stack.start(workers=2)
    require_ended_in_order(stack)
    assert [stack.job(job_id)["status"] for job_id in jobs] == ["succeeded"] * 4
    assert [stack.job(job_id)["attempt"] for job_id in jobs] == [2, 2, 1, 1]
    assert stack.history(jobs[0]) == stack.history(jobs[2])
    assert stack.ask("GET", f"/v1/jobs/{done}/model").content == model


@on()
@pytest.mark.parametrize("what", ["blobs", "scratch"])
def test_a_disk_that_is_full_at_a_checkpoint_is_a_warning(stack: Stack, small_disk: Path, what: str) -> None:
    _on_small_disk(stack, small_disk, what)
    stack.start(workers=1)
    job_id = stack.submit(long_digits(150))
    stack.wait_for_epoch(job_id, 2)
    # A checkpoint written while the disk fills up removes an older one, which makes room for later ones.
    until(lambda: _fill(small_disk) and len(_warnings(stack, job_id)) >= 3, "three warnings")
    _fill(small_disk).unlink()
    job = stack.wait_for_end(job_id)
    assert (job["status"], job["attempt"], job["failures"]) == ("succeeded", 1, 0)
    assert all("checkpoint could" in message.lower() for message in _warnings(stack, job_id))
    assert len(stack.history(job_id)) == 150
    require_ended_in_order(stack)


@on()
@pytest.mark.parametrize("what", ["blobs", "scratch"])
def test_a_disk_that_is_full_at_the_end_costs_an_attempt_and_no_epoch(
    stack: Stack, small_disk: Path, what: str
) -> None:
    _on_small_disk(stack, small_disk, what)
    stack.start(workers=1)
    job_id = stack.submit(long_digits(20))
    stack.wait_for_epoch(job_id, 2)
    filler = _fill(small_disk)
    until(lambda: stack.job(job_id)["failures"] == 1, "the failure")
    filler.unlink()
    job = stack.wait_for_end(job_id)
    assert (job["status"], job["failures"]) == ("succeeded", 1), job
    assert len(stack.history(job_id)) == 20
    assert stack.ask("GET", f"/v1/jobs/{job_id}/model").status_code == 200
    partial = [path.name for path in stack.blobs.rglob("*") if path.is_file() and "#" in path.name]
    assert partial == []
    require_ended_in_order(stack)


@on()
def test_a_disk_that_stays_full_fails_the_job_with_the_reason(stack: Stack, small_disk: Path) -> None:
    _on_small_disk(stack, small_disk, "blobs")
    stack.start(workers=1)
    job_id = stack.submit(long_digits(20))
    stack.wait_for_epoch(job_id, 1)
    filler = _fill(small_disk)
    job = stack.wait_for_end(job_id, within_s=240)
    assert (job["status"], job["error"]["code"], job["failures"]) == ("failed", "storage_unavailable", 3)
    filler.unlink()
    require_ended_in_order(stack)


# --- helpers -------------------------------------------------------------------------------------------


def _on_small_disk(stack: Stack, disk: Path, what: str) -> None:
    """Put the blobs of the stack, or the homes of its processes, on the small disk."""
    if what == "scratch":
        stack.homes = disk
        return
    shutil.copytree(stack.blobs, disk / "blobs")
    stack.blobs = disk / "blobs"
    stack.environment["HELDOUT_BLOBS"] = stack.blobs.as_uri()


def _fill(disk: Path) -> Path:
    """Fill the disk with a file, and return that. Another call also fills what has become free."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def _warnings(stack: Stack, job_id: str) -> list[str]:
    return [event["message"] for event in stack.events(job_id) if event["type"] == "job.warning"]
