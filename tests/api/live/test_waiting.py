"""With `?wait=`, a client soon learns of a change, uses no connection, and gets a response if the service stops."""

import asyncio
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.live.source import Channel, ChannelKind
from tests.api.support import (
    assert_problem,
    bearer,
    database_outage,
    postgresql_only,
    run_server,
    sqlite_only,
    submit,
    wait_until,
)

SOON_S = 30.0  # half of the wait, because a shared machine can stall for seconds. The hub polls five times per second.


@pytest.fixture
def in_background():
    """Run a request in parallel with the test."""
    with ThreadPoolExecutor(64) as pool:
        yield lambda call, *args, **kwargs: pool.submit(_measure, call, *args, **kwargs)


def _measure(call, *args, **kwargs):
    began = time.monotonic()
    answer = call(*args, **kwargs)
    return answer, time.monotonic() - began


class WatchedSource:
    """Wraps the hub's source of states and records which jobs the hub has polled."""

    def __init__(self, hub: Any) -> None:
        self._source = hub._source
        self._polled = threading.Condition()
        self._jobs: list[frozenset[str]] = []
        hub._source = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def states(self, channels: Collection[Any]) -> Mapping[Any, Any]:
        found = self._source.states(channels)
        with self._polled:
            self._jobs.append(frozenset(channel.id for channel in channels))
            self._polled.notify_all()
        return found

    def is_still_waiting(self, request: Future, job: str) -> bool:
        """Check that the request is still waiting after the hub has polled its job.

        The first poll may have begun earlier. The third shows that the second did not end the wait.
        """
        with self._polled:
            begins = len(self._jobs)
            polled = self._polled.wait_for(lambda: sum(job in jobs for jobs in self._jobs[begins:]) >= 3, SOON_S)
        return polled and not request.done()


@pytest.fixture
def looks(app) -> WatchedSource:
    return WatchedSource(app.state.context.hub)


def test_a_wait_without_a_tag_ends_with_the_job(service, worker, spec, in_background, looks):
    job = submit(service, spec)["id"]
    waiting = in_background(service.get, f"/v1/jobs/{job}?wait=60")
    held = worker.claim()
    worker.epoch(held, 1)
    assert looks.is_still_waiting(waiting, job)
    worker.succeed(held)
    answer, _ = waiting.result(SOON_S)
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    answer, took = _measure(service.get, f"/v1/jobs/{job}?wait=60")
    assert (answer.json()["status"], took < SOON_S) == ("succeeded", True)


@sqlite_only
def test_a_wait_without_a_tag_that_times_out_returns_the_current_job(service, spec):
    job = submit(service, spec)
    answer, took = _measure(service.get, f"/v1/jobs/{job['id']}?wait=1")
    assert (answer.status_code, answer.json()) == (200, job)
    assert 1 <= took < 1 + SOON_S


def test_a_wait_with_a_tag_ends_with_the_next_version(service, worker, spec, in_background, looks):
    job = submit(service, spec)["id"]
    waiting = in_background(service.get, f"/v1/jobs/{job}?wait=60", headers={"If-None-Match": '"1"'})
    assert looks.is_still_waiting(waiting, job)
    worker.claim()
    answer, _ = waiting.result(SOON_S)
    assert (answer.status_code, answer.headers["etag"], answer.json()["status"]) == (200, '"2"', "running")
    answer, took = _measure(service.get, f"/v1/jobs/{job}?wait=60", headers={"If-None-Match": '"1"'})
    assert (answer.headers["etag"], took < SOON_S) == ('"2"', True)


@sqlite_only
def test_a_wait_with_a_tag_that_times_out_is_a_304(service, spec):
    job = submit(service, spec)["id"]
    service.post(f"/v1/jobs/{job}/cancel")
    answer, took = _measure(service.get, f"/v1/jobs/{job}?wait=1", headers={"If-None-Match": '"2"'})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"2"')
    assert 1 <= took < 1 + SOON_S


@sqlite_only
def test_a_job_deleted_during_the_wait_is_not_found(service, spec, in_background, looks):
    job = submit(service, spec)["id"]
    service.post(f"/v1/jobs/{job}/cancel")
    waiting = in_background(service.get, f"/v1/jobs/{job}?wait=60", headers={"If-None-Match": '"2"'})
    assert looks.is_still_waiting(waiting, job)
    service.delete(f"/v1/jobs/{job}")
    answer, _ = waiting.result(SOON_S)
    assert_problem(answer, 404, "job_not_found")


@sqlite_only
def test_waits_are_bounded(service, spec):
    job = submit(service, spec)["id"]
    for wait in ["-1", "61", "nan", "inf", "x", "1e99"]:
        assert_problem(service.get(f"/v1/jobs/{job}?wait={wait}"), 400, "invalid_parameter")


@sqlite_only
def test_waiting_for_a_missing_job_fails_at_once(service):
    answer, took = _measure(service.get, "/v1/jobs/job_01jd0000000000000000000000?wait=60")
    assert_problem(answer, 404, "job_not_found")
    assert took < SOON_S


@postgresql_only
def test_sixty_waiting_clients_use_no_database_connection_and_no_thread(app, key, worker, spec, in_background):
    # The pool has 20 connections and the server 40 threads.
    with run_server(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key), timeout=90) as service:
        job = submit(service, spec)["id"]
        waiting = [
            in_background(httpx2.get, f"{url}/v1/jobs/{job}?wait=60", headers=bearer(key), timeout=90)
            for _ in range(60)
        ]
        followed, channel = app.state.context.hub._followed, Channel(ChannelKind.JOB, job)
        wait_until(lambda: channel in followed and followed[channel].clients == 60, "the start of all waits")
        pool = app.state.context.database.engine.pool
        assert pool.checkedout() <= 1, "at most the hub's own query"
        assert service.get("/v1/jobs").elapsed.total_seconds() < SOON_S
        worker.succeed(worker.claim())
        assert {request.result(SOON_S)[0].json()["status"] for request in waiting} == {"succeeded"}


@sqlite_only
def test_a_stopping_service_answers_waiting_clients(app, key, spec, in_background, looks):
    with run_server(app) as (url, server), httpx2.Client(base_url=url, headers=bearer(key), timeout=90) as service:
        job = submit(service, spec)
        waiting = in_background(service.get, f"/v1/jobs/{job['id']}?wait=60")
        assert looks.is_still_waiting(waiting, job["id"])
        server.ask_to_exit()
        answer, _ = waiting.result(SOON_S)
    assert (answer.status_code, answer.json()) == (200, job)
    assert not [thread for thread in threading.enumerate() if thread.name in {"uvicorn", "reconciler"}]


@sqlite_only
def test_an_outage_of_the_database_ends_the_wait_with_a_503(app, settings, key, worker, spec, in_background, looks):
    file = settings.home / "heldout.db"
    with run_server(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key), timeout=90) as service:
        job = submit(service, spec)["id"]
        waiting = in_background(service.get, f"/v1/jobs/{job}?wait=2")
        assert looks.is_still_waiting(waiting, job)
        with database_outage(app, file):
            answer, _ = waiting.result(2 + SOON_S)
            problem = assert_problem(answer, 503, "database_unavailable")
            assert answer.headers["retry-after"] == "2"
            assert str(file) not in problem["detail"]
        waiting = in_background(service.get, f"/v1/jobs/{job}?wait=60")
        worker.succeed(worker.claim())
        assert waiting.result(SOON_S)[0].json()["status"] == "succeeded"


@sqlite_only
def test_a_stopped_hub_does_not_wait(settings, database):
    hub = create_app(settings).state.context.hub
    hub.stop()
    asyncio.run(asyncio.wait_for(hub.wait(Channel(ChannelKind.JOB, "job_x"), lambda state: False, 60), SOON_S))
