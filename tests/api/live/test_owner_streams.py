"""An owner's stream has all events of jobs and datasets in order, with the guarantees of a job's stream."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import httpx2
import pytest

from api.live import source
from tests.api.live.streaming import STREAM, add_warnings, read_messages
from tests.api.support import assert_problem, sqlite_only, submit

SOON_S = 10.0  # a shared machine can stall for seconds; a ping comes after 15


@contextmanager
def follow_owner(client: httpx2.Client, query: str = "", **headers: str):
    """Yield the messages of an owner's open stream."""
    with client.stream("GET", f"/v1/events{query}", headers={**STREAM, **headers}, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield read_messages(answer)


def list_events(client, **params) -> dict:
    answer = client.get("/v1/events", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def announce_dataset(client, name: str = "pets") -> str:
    answer = client.post("/v1/datasets", json={"name": name})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.fixture
def hub(app):
    return app.state.context.hub


def test_the_stream_and_the_list_have_the_same_events_of_jobs_and_datasets(service, worker, spec):
    first = submit(service, spec)["id"]
    with follow_owner(service) as messages:
        heard = [next(messages)]
        began = time.monotonic()
        worker.fail(worker.claim())
        dataset = announce_dataset(service)
        second = submit(service, spec)["id"]
        heard += [next(messages) for _ in range(4)]
        assert time.monotonic() - began < SOON_S
    page = list_events(service)
    assert [message.data for message in heard] == page["data"]
    assert [(int(event.id), event.event) for event in heard] == [(event["id"], event["type"]) for event in page["data"]]
    assert [(event["subject"]["object"], event["subject"]["id"], event["type"]) for event in page["data"]] == [
        ("job", first, "job.queued"),
        ("job", first, "job.started"),
        ("job", first, "job.failed"),
        ("dataset", dataset, "dataset.uploading"),
        ("job", second, "job.queued"),
    ]
    of_the_job = service.get(f"/v1/jobs/{first}/events").json()["data"]
    assert [event["data"] for event in of_the_job] == [event["data"] for event in page["data"][:3]]
    assert (page["has_more"], page["next"]) == (False, None)


@sqlite_only
def test_events_of_other_owners_appear_in_no_list(client, stranger, spec):
    mine = submit(client, spec)["id"]
    theirs = submit(stranger, spec)["id"]
    assert [event["subject"]["id"] for event in list_events(client)["data"]] == [mine]
    assert [event["subject"]["id"] for event in list_events(stranger)["data"]] == [theirs]
    assert_problem(client.get("/v1/events", headers={"Authorization": ""}), 401, "unauthenticated")


def test_pages_are_contiguous_and_share_their_cursors_with_streams(service, database, spec):
    job = submit(service, spec)["id"]
    add_warnings(database, job, 3 * source.PAGE)
    count = 3 * source.PAGE + 1
    numbers, after = [], 0
    while after is not None:
        page = list_events(service, after=after, limit=70)
        numbers += [event["id"] for event in page["data"]]
        after = page["next"]
    assert numbers == list(range(1, count + 1))
    for query, headers, first in (
        ("", {}, 1),
        ("?after=2", {}, 3),
        ("?after=2", {"Last-Event-ID": str(count - 1)}, count),  # a browser repeats its URL when it reconnects
    ):
        with follow_owner(service, query, **headers) as messages:
            assert [int(next(messages).id) for _ in range(first, count + 1)] == list(range(first, count + 1))


def test_after_latest_returns_only_new_events(service, database, spec):
    job = submit(service, spec)["id"]
    add_warnings(database, job, 3)
    with follow_owner(service, "?after=latest") as messages:
        start = next(messages)
        assert (start.id, start.event, start.data) == ("4", None, None)
        add_warnings(database, job)
        assert next(messages).id == "5"
    empty = list_events(service, after="latest")
    assert (empty["data"], empty["has_more"], empty["next"]) == ([], False, 5)
    add_warnings(database, job)
    assert [event["id"] for event in list_events(service, after=empty["next"])["data"]] == [6]


@sqlite_only
def test_a_client_that_disconnects_before_the_first_event_can_resume(service, database, spec):
    job = submit(service, spec)["id"]
    with follow_owner(service, "?after=latest") as messages:
        began_at = next(messages).id
    add_warnings(database, job)
    with follow_owner(service, "?after=latest", **{"Last-Event-ID": began_at}) as messages:
        missed = next(messages)
        assert (missed.id, missed.event) == ("2", "job.warning")


def test_latest_includes_events_that_are_not_numbered_yet(service, database, spec, monkeypatch):
    monkeypatch.setattr(source.owner_events, "NUMBERED_AT_ONCE", 4)
    job = submit(service, spec)["id"]
    add_warnings(database, job, 10)
    assert list_events(service, after="latest")["next"] == 11


@sqlite_only
def test_latest_is_0_before_the_first_event(client, stranger, spec):
    submit(stranger, spec)
    assert list_events(client, after="latest")["next"] == 0


@sqlite_only
def test_invalid_event_numbers_are_refused(client):
    for number in ["x", "-1", "Latest", "9007199254740992", "99999999999999999", "٣"]:
        assert_problem(client.get("/v1/events", params={"after": number}), 400, "invalid_cursor")
        assert_problem(client.get("/v1/events", headers={"Last-Event-ID": number.encode()}), 400, "invalid_cursor")


@sqlite_only
def test_only_after_can_be_latest(client):
    assert_problem(client.get("/v1/events", headers={"Last-Event-ID": "latest"}), 400, "invalid_cursor")


def test_a_stream_continues_past_the_events_of_a_deleted_job(service, database, spec):
    gone = submit(service, spec)["id"]
    with follow_owner(service) as messages:
        assert next(messages).id == "1"
        service.post(f"/v1/jobs/{gone}/cancel")
        assert next(messages).id == "2"
        service.delete(f"/v1/jobs/{gone}")
        submit(service, spec)
        assert next(messages).id == "3"
    assert [event["id"] for event in list_events(service)["data"]] == [3]
    with follow_owner(service) as messages:
        assert next(messages).id == "3"


def test_a_reader_that_reconnects_often_misses_no_event_of_eight_writers(service, database, spec):
    writers, each = 8, 12
    ids = [submit(service, spec)["id"] for _ in range(writers)]
    count = writers * (each + 1)
    heard = []

    def write(job: str) -> None:
        for _ in range(each):
            add_warnings(database, job)

    with ThreadPoolExecutor(writers) as pool:
        writing = [pool.submit(write, job) for job in ids]
        while len(heard) < count:
            last = heard[-1].id if heard else "0"
            with follow_owner(service, **{"Last-Event-ID": last}) as messages:
                # It disconnects after some events and resumes there. Comments only keep a quiet stream open.
                heard += islice((message for message in messages if message.id is not None), min(7, count - len(heard)))
        for write_result in writing:
            write_result.result()
    assert [int(message.id) for message in heard] == list(range(1, count + 1))
    assert [message.data for message in heard] == [
        event for after in (0, 100) for event in list_events(service, after=after, limit=100)["data"]
    ]


@sqlite_only
def test_waiting_for_a_job_works_while_owner_events_cannot_be_numbered(service, database, worker, spec, monkeypatch):
    """Each kind of channel is polled separately, so one kind cannot delay the other."""
    release = []

    def stuck(session, owner, *, wait=True):
        while not release:
            time.sleep(0.05)
        return False

    with follow_owner(service):
        job = submit(service, spec)["id"]
        monkeypatch.setattr(source.owner_events, "number", stuck)
        try:
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(service.get, f"/v1/jobs/{job}?wait=20")
                worker.fail(worker.claim())
                assert waiting.result(SOON_S).json()["status"] == "failed"
        finally:
            release.append(True)
