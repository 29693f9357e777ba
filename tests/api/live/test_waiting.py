"""`?wait=`: a client soon hears of a change, takes no connection, and gets a response when the service stops."""

import asyncio
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.live.hub import Channel, ChannelKind
from tests.api.support import assert_problem, bearer, database_away, serving, sqlite_only, submitted, wait_until

SOON_S = 30.0  # half of the wait: a shared machine can stall for seconds; the hub looks five times a second


@pytest.fixture
def apart():
    """Runs a request in parallel with the test."""
    with ThreadPoolExecutor(64) as pool:
        yield lambda call, *args, **kwargs: pool.submit(_timed, call, *args, **kwargs)


def _timed(call, *args, **kwargs):
    began = time.monotonic()
    answer = call(*args, **kwargs)
    return answer, time.monotonic() - began


class Looks:
    """Stands between the hub and the database: notes at which jobs the hub has looked."""

    def __init__(self, hub: Any) -> None:
        self._source = hub._source
        self._looked = threading.Condition()
        self._jobs: list[frozenset[str]] = []
        hub._source = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def states(self, channels: Collection[Any]) -> Mapping[Any, Any]:
        found = self._source.states(channels)
        with self._looked:
            self._jobs.append(frozenset(channel.id for channel in channels))
            self._looked.notify_all()
        return found

    def still_waits(self, request: Future, job: str) -> bool:
        """Whether the request is not answered though the hub has looked at its job since it was asked here.

        The first look may have begun before; the third shows that the second did not end the wait.
        """
        with self._looked:
            begins = len(self._jobs)
            looked = self._looked.wait_for(lambda: sum(job in jobs for jobs in self._jobs[begins:]) >= 3, SOON_S)
        return looked and not request.done()


@pytest.fixture
def looks(app) -> Looks:
    return Looks(app.state.context.hub)


def test_without_a_tag_the_answer_comes_when_the_job_has_ended(service, worker, spec, apart, looks):
    job = submitted(service, spec)["id"]
    waiting = apart(service.get, f"/v1/jobs/{job}?wait=60")
    held = worker.claim()
    worker.epoch(held, 1)
    assert looks.still_waits(waiting, job)
    worker.succeed(held)
    answer, _ = waiting.result(SOON_S)
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    answer, took = _timed(service.get, f"/v1/jobs/{job}?wait=60")
    assert (answer.json()["status"], took < SOON_S) == ("succeeded", True)


def test_without_a_tag_the_end_of_the_wait_brings_the_job_as_it_is(service, spec):
    job = submitted(service, spec)
    answer, took = _timed(service.get, f"/v1/jobs/{job['id']}?wait=1")
    assert (answer.status_code, answer.json()) == (200, job)
    assert 1 <= took < 1 + SOON_S


def test_with_a_tag_the_answer_comes_with_the_next_version(service, worker, spec, apart, looks):
    job = submitted(service, spec)["id"]
    waiting = apart(service.get, f"/v1/jobs/{job}?wait=60", headers={"If-None-Match": '"1"'})
    assert looks.still_waits(waiting, job)
    worker.claim()
    answer, _ = waiting.result(SOON_S)
    assert (answer.status_code, answer.headers["etag"], answer.json()["status"]) == (200, '"2"', "running")
    answer, took = _timed(service.get, f"/v1/jobs/{job}?wait=60", headers={"If-None-Match": '"1"'})
    assert (answer.headers["etag"], took < SOON_S) == ('"2"', True)


def test_with_a_tag_the_end_of_the_wait_is_a_304(service, spec):
    job = submitted(service, spec)["id"]
    service.post(f"/v1/jobs/{job}/cancel")
    answer, took = _timed(service.get, f"/v1/jobs/{job}?wait=1", headers={"If-None-Match": '"2"'})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"2"')
    assert 1 <= took < 1 + SOON_S


def test_a_job_that_is_deleted_meanwhile_is_not_found(service, spec, apart, looks):
    job = submitted(service, spec)["id"]
    service.post(f"/v1/jobs/{job}/cancel")
    waiting = apart(service.get, f"/v1/jobs/{job}?wait=60", headers={"If-None-Match": '"2"'})
    assert looks.still_waits(waiting, job)
    service.delete(f"/v1/jobs/{job}")
    answer, _ = waiting.result(SOON_S)
    assert_problem(answer, 404, "job_not_found")


@sqlite_only
@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "x", "1e99"])
def test_waits_are_bounded(service, spec, wait):
    assert_problem(service.get(f"/v1/jobs/{submitted(service, spec)['id']}?wait={wait}"), 400, "invalid_parameter")


@sqlite_only
def test_what_is_not_there_is_not_waited_for(service):
    answer, took = _timed(service.get, "/v1/jobs/job_01jd0000000000000000000000?wait=60")
    assert_problem(answer, 404, "job_not_found")
    assert took < SOON_S


def test_sixty_who_wait_take_no_connection_and_no_thread_from_others(app, key, worker, spec, apart):
    # The pool has 20 connections and the server 40 threads.
    with serving(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key), timeout=90) as service:
        job = submitted(service, spec)["id"]
        waiting = [
            apart(httpx2.get, f"{url}/v1/jobs/{job}?wait=60", headers=bearer(key), timeout=90) for _ in range(60)
        ]
        wait_until(lambda: len(app.state.context.hub._waiters) == 60, "a wait of all of them")
        pool = app.state.context.database.engine.pool
        assert pool.checkedout() <= 1, "at most the hub's own look"
        assert service.get("/v1/jobs").elapsed.total_seconds() < SOON_S
        worker.succeed(worker.claim())
        assert {request.result(SOON_S)[0].json()["status"] for request in waiting} == {"succeeded"}


def test_a_service_that_stops_answers_who_waits(app, key, spec, apart, looks):
    with serving(app) as (url, server), httpx2.Client(base_url=url, headers=bearer(key), timeout=90) as service:
        job = submitted(service, spec)
        waiting = apart(service.get, f"/v1/jobs/{job['id']}?wait=60")
        assert looks.still_waits(waiting, job["id"])
        server.ask_to_exit()
        answer, _ = waiting.result(SOON_S)
    assert (answer.status_code, answer.json()) == (200, job)
    assert not [thread for thread in threading.enumerate() if thread.name in {"uvicorn", "reconciler"}]


@sqlite_only
def test_a_database_that_goes_away_ends_the_wait_with_a_503_and_serves_again(
    app, settings, key, worker, spec, apart, looks
):
    file = settings.home / "heldout.db"
    with serving(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key), timeout=90) as service:
        job = submitted(service, spec)["id"]
        waiting = apart(service.get, f"/v1/jobs/{job}?wait=2")
        assert looks.still_waits(waiting, job)
        with database_away(app, file):
            answer, _ = waiting.result(2 + SOON_S)
            problem = assert_problem(answer, 503, "database_unavailable")
            assert answer.headers["retry-after"] == "2"
            assert str(file) not in problem["detail"]
        waiting = apart(service.get, f"/v1/jobs/{job}?wait=60")
        worker.succeed(worker.claim())
        assert waiting.result(SOON_S)[0].json()["status"] == "succeeded"


@sqlite_only
def test_an_app_that_does_not_run_yet_does_not_wait(settings, database):
    hub = create_app(settings).state.context.hub
    hub.stop()
    asyncio.run(asyncio.wait_for(hub.wait(Channel(ChannelKind.JOB, "job_x"), lambda state: False, 60), SOON_S))
