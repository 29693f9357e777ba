"""The owner's stream: all events of jobs and datasets in one order, with the guarantees of a job's stream."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import httpx2
import pytest

from api.live import source
from tests.api.live.streaming import STREAM, add_warnings, messages_of
from tests.api.support import assert_problem, sqlite_only, submitted

SOON_S = 10.0  # a shared machine can stall for seconds; a ping comes after 15


@contextmanager
def following(client: httpx2.Client, query: str = "", **headers: str):
    """The messages of the owner's stream that a client has open."""
    with client.stream("GET", f"/v1/events{query}", headers={**STREAM, **headers}, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield messages_of(answer)


def listed(client, **params) -> dict:
    answer = client.get("/v1/events", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def announced(client, name: str = "pets") -> str:
    answer = client.post("/v1/datasets", json={"name": name})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.fixture
def hub(app):
    return app.state.context.hub


def test_a_stream_brings_events_of_jobs_and_datasets_as_the_list_has_them(service, worker, spec):
    first = submitted(service, spec)["id"]
    with following(service) as messages:
        heard = [next(messages)]
        began = time.monotonic()
        worker.fail(worker.claim())
        dataset = announced(service)
        second = submitted(service, spec)["id"]
        heard += [next(messages) for _ in range(4)]
        assert time.monotonic() - began < SOON_S
    page = listed(service)
    assert [one.data for one in heard] == page["data"]
    assert [(int(one.id), one.event) for one in heard] == [(one["id"], one["type"]) for one in page["data"]]
    assert [(one["subject"]["object"], one["subject"]["id"], one["type"]) for one in page["data"]] == [
        ("job", first, "job.queued"),
        ("job", first, "job.started"),
        ("job", first, "job.failed"),
        ("dataset", dataset, "dataset.uploading"),
        ("job", second, "job.queued"),
    ]
    of_the_job = service.get(f"/v1/jobs/{first}/events").json()["data"]
    assert [one["data"] for one in of_the_job] == [one["data"] for one in page["data"][:3]]
    assert (page["has_more"], page["next"]) == (False, None)


@sqlite_only
def test_what_another_owner_does_is_in_no_list_and_no_stream(client, stranger, spec):
    mine = submitted(client, spec)["id"]
    theirs = submitted(stranger, spec)["id"]
    assert [one["subject"]["id"] for one in listed(client)["data"]] == [mine]
    assert [one["subject"]["id"] for one in listed(stranger)["data"]] == [theirs]
    assert_problem(client.get("/v1/events", headers={"Authorization": ""}), 401, "unauthenticated")


def test_pages_join_and_cursors_are_those_of_the_stream(service, database, spec):
    job = submitted(service, spec)["id"]
    add_warnings(database, job, 3 * source.PAGE)
    count = 3 * source.PAGE + 1
    numbers, after = [], 0
    while after is not None:
        page = listed(service, after=after, limit=70)
        numbers += [one["id"] for one in page["data"]]
        after = page["next"]
    assert numbers == list(range(1, count + 1))
    for query, headers, first in (
        ("", {}, 1),
        ("?after=2", {}, 3),
        ("?after=2", {"Last-Event-ID": str(count - 1)}, count),  # a browser repeats its address when it comes back
    ):
        with following(service, query, **headers) as messages:
            assert [int(next(messages).id) for _ in range(first, count + 1)] == list(range(first, count + 1))


def test_from_now_on_brings_what_happens_next_and_nothing_before(service, database, spec):
    job = submitted(service, spec)["id"]
    add_warnings(database, job, 3)
    with following(service, "?after=latest") as messages:
        start = next(messages)
        assert (start.id, start.event, start.data) == ("4", None, None)
        add_warnings(database, job)
        assert next(messages).id == "5"
    empty = listed(service, after="latest")
    assert (empty["data"], empty["has_more"], empty["next"]) == ([], False, 5)
    add_warnings(database, job)
    assert [one["id"] for one in listed(service, after=empty["next"])["data"]] == [6]


def test_who_hung_up_before_the_first_event_continues_where_it_began(service, database, spec):
    job = submitted(service, spec)["id"]
    with following(service, "?after=latest") as messages:
        began_at = next(messages).id
    add_warnings(database, job)
    with following(service, "?after=latest", **{"Last-Event-ID": began_at}) as messages:
        missed = next(messages)
        assert (missed.id, missed.event) == ("2", "job.warning")


def test_the_latest_event_is_the_last_of_more_than_are_numbered_at_once(service, database, spec, monkeypatch):
    monkeypatch.setattr(source.owner_events, "NUMBERED_AT_ONCE", 4)
    job = submitted(service, spec)["id"]
    add_warnings(database, job, 10)
    assert listed(service, after="latest")["next"] == 11


@sqlite_only
def test_before_any_event_the_latest_is_0(client, stranger, spec):
    submitted(stranger, spec)
    assert listed(client, after="latest")["next"] == 0


@sqlite_only
@pytest.mark.parametrize("number", ["x", "-1", "Latest", "9007199254740992", "99999999999999999", "٣"])
def test_what_is_no_number_of_an_event_is_refused(client, number):
    assert_problem(client.get("/v1/events", params={"after": number}), 400, "invalid_cursor")
    assert_problem(client.get("/v1/events", headers={"Last-Event-ID": number.encode()}), 400, "invalid_cursor")


@sqlite_only
def test_only_after_can_be_latest(client):
    assert_problem(client.get("/v1/events", headers={"Last-Event-ID": "latest"}), 400, "invalid_cursor")


def test_a_deleted_job_leaves_a_gap_and_a_stream_continues(service, database, spec):
    gone = submitted(service, spec)["id"]
    with following(service) as messages:
        assert next(messages).id == "1"
        service.post(f"/v1/jobs/{gone}/cancel")
        assert next(messages).id == "2"
        service.delete(f"/v1/jobs/{gone}")
        submitted(service, spec)
        assert next(messages).id == "3"
    assert [one["id"] for one in listed(service)["data"]] == [3]
    with following(service) as messages:
        assert next(messages).id == "3"


def test_eight_writers_and_a_reader_who_comes_back_again_and_again_lose_nothing(service, database, spec):
    writers, each = 8, 12
    ids = [submitted(service, spec)["id"] for _ in range(writers)]
    count = writers * (each + 1)
    heard = []

    def write(job: str) -> None:
        for _ in range(each):
            add_warnings(database, job)

    with ThreadPoolExecutor(writers) as pool:
        writing = [pool.submit(write, job) for job in ids]
        while len(heard) < count:
            last = heard[-1].id if heard else "0"
            with following(service, **{"Last-Event-ID": last}) as messages:
                # It hangs up after some events, and continues where it was. A comment keeps a quiet stream open.
                heard += islice((message for message in messages if message.id is not None), min(7, count - len(heard)))
        for one in writing:
            one.result()
    assert [int(one.id) for one in heard] == list(range(1, count + 1))
    assert [one.data for one in heard] == [
        one for after in (0, 100) for one in listed(service, after=after, limit=100)["data"]
    ]


def test_jobs_are_awaited_while_an_owners_events_cannot_be_numbered(service, database, worker, spec, monkeypatch):
    """Each kind of channel is polled by itself: what holds up one kind does not hold up the other."""
    release = []

    def stuck(session, owner, *, wait=True):
        while not release:
            time.sleep(0.05)
        return False

    with following(service):
        job = submitted(service, spec)["id"]
        monkeypatch.setattr(source.owner_events, "number", stuck)
        try:
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(service.get, f"/v1/jobs/{job}?wait=20")
                worker.fail(worker.claim())
                assert waiting.result(SOON_S).json()["status"] == "failed"
        finally:
            release.append(True)
