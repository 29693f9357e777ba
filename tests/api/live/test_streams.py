"""Live events: in order, from the client's position to the end, through outages, stops and slow readers."""

import asyncio
import time
from contextlib import ExitStack

import httpx2
import pytest

from api.live import source
from api.live.hub import KEPT_BYTES, KEPT_EVENTS, Channel, ChannelKind, EncodedEvent, RecentEvents
from api.live.streams import wants_stream
from heldout.service.settings import Settings
from models.store import keys
from tests.api.live.streaming import STREAM, add_warnings, client_that_never_reads, follow, following, unsent_bytes
from tests.api.support import (
    assert_problem,
    bearer,
    database_away,
    key_for,
    serving,
    sqlite_only,
    submitted,
    wait_until,
)

SOON_S = 10.0  # a shared machine can stall for seconds; a ping comes after 15


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """All clients of a test have one address."""
    return settings.model_copy(update={"max_connections_per_address": settings.max_connections})


@pytest.fixture
def hub(app):
    return app.state.context.hub


def test_a_stream_brings_every_event_as_the_list_has_it_and_ends_with_the_job(service, worker, spec):
    job = submitted(service, spec)["id"]
    with following(service, job) as messages:
        assert next(messages).event == "job.queued"
        held = worker.claim()
        began = time.monotonic()
        assert next(messages).event == "job.started"
        assert time.monotonic() - began < SOON_S
        worker.succeed(held)
        heard = [next(messages)]
        assert next(messages).comment == "the job has ended"
        assert list(messages) == []
    listed = service.get(f"/v1/jobs/{job}/events").json()["data"]
    assert [one["type"] for one in listed] == ["job.queued", "job.started", "job.succeeded"]
    assert (heard[0].id, heard[0].event, heard[0].data) == ("3", "job.succeeded", listed[2])


def test_a_stream_continues_after_the_event_that_the_client_knows(service, database, worker, spec):
    job = submitted(service, spec)["id"]
    add_warnings(database, job, 3 * source.PAGE)
    worker.fail(worker.claim())
    count = 3 * source.PAGE + 3
    for query, headers, first in (
        ("", {}, 1),
        ("?after=2", {}, 3),
        ("", {"Last-Event-ID": "2"}, 3),
        ("?after=2", {"Last-Event-ID": str(count - 1)}, count),  # a browser repeats its address when it comes back
    ):
        with following(service, job, query, **headers) as messages:
            *heard, end = messages
        assert [int(one.id) for one in heard] == list(range(first, count + 1))
        assert heard[-1].event == "job.failed"
        assert end.comment == "the job has ended"
    listed = service.get(f"/v1/jobs/{job}/events?limit=200", headers={"Last-Event-ID": str(count - 1)}).json()["data"]
    assert [one["id"] for one in listed] == [count]


def test_a_job_is_followed_from_now_on(service, database, worker, spec):
    job = submitted(service, spec)["id"]
    held = worker.claim()
    with following(service, job, "?after=latest") as messages:
        start = next(messages)
        assert (start.id, start.event, start.data) == ("2", None, None)
        add_warnings(database, job)
        assert next(messages).id == "3"
        worker.fail(held)
        assert [message.event for message in messages] == ["job.failed", None]
    empty = service.get(f"/v1/jobs/{job}/events?after=latest").json()
    assert (empty["data"], empty["has_more"], empty["next"]) == ([], False, 4)
    assert service.get(f"/v1/jobs/{job}/events?after=latest", headers=STREAM).status_code == 204


def test_who_has_heard_the_end_is_told_not_to_come_back(service, worker, spec):
    job = submitted(service, spec)["id"]
    service.post(f"/v1/jobs/{job}/cancel")
    for number in ("2", "7"):
        answer = service.get(f"/v1/jobs/{job}/events", headers={**STREAM, "Last-Event-ID": number})
        assert (answer.status_code, answer.content) == (204, b"")


@sqlite_only
@pytest.mark.parametrize("number", ["x", "-1", "1.5", "99999999999", "٣", "null"])
def test_what_is_no_number_of_an_event_is_refused(service, spec, number):
    job = submitted(service, spec)["id"]
    headers = {**STREAM, "Last-Event-ID": number.encode()}
    problem = assert_problem(service.get(f"/v1/jobs/{job}/events", headers=headers), 400, "invalid_cursor")
    assert "Last-Event-ID" in problem["detail"]
    assert "after" not in problem["detail"]
    after = {"after": number}
    assert_problem(service.get(f"/v1/jobs/{job}/events", params=after, headers=STREAM), 400, "invalid_cursor")


@pytest.mark.parametrize(
    ("accept", "stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("application/json, text/event-stream;q=0.9", True),
        ("text/event-stream;q=0", False),
        ("application/json", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_only_a_client_that_asks_for_a_stream_gets_one(accept, stream):
    assert wants_stream(accept) is stream


@sqlite_only
def test_without_that_accept_it_is_a_list(service, spec):
    job = submitted(service, spec)["id"]
    answer = service.get(f"/v1/jobs/{job}/events")
    assert (answer.json()["object"], answer.headers["vary"]) == ("list", "Accept")


@sqlite_only
def test_no_one_is_streamed_to_before_it_is_known_who_asks(service, database, spec):
    job = submitted(service, spec)["id"]
    path = f"{service.base_url}/v1/jobs/{job}/events"
    assert_problem(httpx2.get(path, headers=STREAM), 401, "unauthenticated")
    eve = {**STREAM, **bearer(key_for(database, "mallory"))}
    assert_problem(httpx2.get(path, headers=eve), 404, "job_not_found")


@sqlite_only
def test_a_quiet_stream_says_that_it_lives(service, hub, spec):
    hub.ping_s = 0.3
    job = submitted(service, spec)["id"]
    with following(service, job) as messages:
        assert next(messages).event == "job.queued"
        assert [next(messages).comment for _ in range(3)] == ["ping"] * 3


def test_a_stream_of_a_job_that_is_deleted_ends(service, database, hub, spec):
    job = submitted(service, spec)["id"]
    with following(service, job) as messages:
        next(messages)
        with database.write() as session:
            session.connection().exec_driver_sql("DELETE FROM jobs")
        assert next(messages).comment == "the job was deleted"
        assert list(messages) == []
    wait_until(lambda: hub.streams == 0, "the stream is still counted")


def test_a_revoked_key_ends_its_streams_and_no_others(service, database, hub, spec):
    hub.keys_every_s = 0.1
    job = submitted(service, spec)["id"]
    other = key_for(database, "ada")
    with httpx2.Client(base_url=service.base_url, headers=bearer(other)) as second, ExitStack() as stack:
        mine = stack.enter_context(following(service, job))
        its = stack.enter_context(following(second, job))
        next(mine), next(its)
        with database.write() as session:
            keys.revoke(session, other.split("_")[1])
        assert next(its).comment == "the key was revoked"
        add_warnings(database, job)
        assert next(mine).event == "job.warning"


@sqlite_only
def test_who_hangs_up_leaves_nothing_behind(app, key, database, hub, spec):
    with serving(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key)) as service:
        job = submitted(service, spec)["id"]
        readers = [client_that_never_reads(url, job, key) for _ in range(20)]
        wait_until(lambda: hub.streams == 20, "not all are open")
        for reader in readers:
            reader.close()
        wait_until(lambda: hub.streams == 0, "some are still counted")
        assert hub.kept_bytes == 0


def test_a_service_that_stops_ends_its_streams_and_says_so(app, key, spec):
    with serving(app) as (url, server), httpx2.Client(base_url=url, headers=bearer(key)) as service:
        job = submitted(service, spec)["id"]
        with following(service, job) as messages:
            next(messages)
            began = time.monotonic()
            server.ask_to_exit()
            assert next(messages).comment == "the service is stopping: reconnect with Last-Event-ID"
            assert list(messages) == []
    assert time.monotonic() - began < SOON_S


@sqlite_only
def test_a_stream_outlives_an_outage_of_the_database(app, settings, key, database, worker, hub, spec):
    hub.ping_s = 0.5
    file = settings.home / "heldout.db"
    with serving(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key)) as service:
        job = submitted(service, spec)["id"]
        with following(service, job) as messages:
            assert next(messages).event == "job.queued"
            with database_away(app, file):
                assert [next(messages).comment for _ in range(3)] == ["ping"] * 3
            worker.fail(worker.claim())
            heard = [message.event for message in messages if message.event]
        assert heard == ["job.started", "job.failed"]


def test_a_slow_reader_misses_nothing_and_costs_no_memory(app, key, database, worker, hub, spec):
    """3 MB of events for a client that does not read: the server holds some hundred kilobytes of them."""
    with serving(app) as (url, server), httpx2.Client(base_url=url, headers=bearer(key)) as service:
        job = submitted(service, spec)["id"]
        held = worker.claim()
        slow = client_that_never_reads(url, job, key)
        with following(service, job) as brisk:
            assert [next(brisk).event for _ in range(2)] == ["job.queued", "job.started"]
            for _ in range(10):
                add_warnings(database, job, 40, "x" * 8_000)
                assert {next(brisk).event for _ in range(40)} == {"job.warning"}
                assert unsent_bytes(server) < 64 * 1024 + (source.PAGE + 1) * 8_500
                assert hub.kept_bytes <= KEPT_BYTES
        worker.succeed(held)
        slow.settimeout(20)
        received = bytearray()
        while chunk := slow.recv(1 << 20):
            received += chunk
        slow.close()
    numbers = [int(line[4:]) for line in received.split(b"\n") if line.startswith(b"id: ")]
    assert numbers == list(range(1, 404))
    assert b": the job has ended\n\n" in received


def test_two_hundred_streams_share_one_look(app, key, database, hub, spec):
    measure_streams(app, key, database, hub, spec, 200)


@pytest.mark.proof
def test_a_thousand_streams_share_one_look(app, key, database, hub, spec):
    measure_streams(app, key, database, hub, spec, 1000)


def measure_streams(app, key, database, hub, spec, count: int) -> None:
    rounds, jobs = 5, 20
    heard: list[tuple[float, dict]] = []

    async def follow_all(url: str, ids: list[str]) -> None:
        followers = [
            asyncio.create_task(follow(url, ids[place % jobs], key, heard, 1 + rounds)) for place in range(count)
        ]
        while hub.streams < count:
            await asyncio.sleep(0.05)
        grown = resident_bytes() - before
        for _ in range(rounds):
            await asyncio.sleep(0.5)
            assert pool.checkedout() <= 2, "at most the hub's look, and ours"
            await asyncio.to_thread(lambda: [add_warnings(database, one) for one in ids])
        await asyncio.gather(*followers)
        assert grown / count < 250_000, "bytes that a stream takes, with its client"

    with serving(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key), timeout=30) as service:
        pool = app.state.context.database.engine.pool
        ids = [submitted(service, spec)["id"] for _ in range(jobs)]
        before = resident_bytes()
        asyncio.run(follow_all(url, ids))
        wait_until(lambda: hub.streams == 0, "some are still counted")
    delays = sorted(at - event["data"]["said"] for at, event in heard if event["type"] == "job.warning")
    assert len(delays) == rounds * count
    p99 = delays[int(0.99 * len(delays))]
    print(f"{count} streams: median {delays[len(delays) // 2]:.3f} s, p99 {p99:.3f} s")
    assert p99 < SOON_S


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


# --- recent events ------------------------------------------------------------------------------------


def encoded(*numbers: int, size: int = 10) -> list[EncodedEvent]:
    return [EncodedEvent(number, b"x" * size) for number in numbers]


def recent_after(last: int):
    async def make() -> RecentEvents:
        return RecentEvents(Channel(ChannelKind.JOB, "job_x"), last)

    return asyncio.run(make())


def test_recent_events_are_given_above_a_cursor_unless_they_are_too_old():
    recent = recent_after(5)
    assert recent.after(5) == []
    assert recent.after(4) is None
    recent.add(7, encoded(6, 7), is_complete=False)
    assert [one.number for one in recent.after(5)] == [6, 7]
    assert [one.number for one in recent.after(6)] == [7]
    assert recent.after(7) == recent.after(9) == []


def test_recent_events_are_bounded_in_number_and_bytes():
    recent = recent_after(0)
    recent.add(100, encoded(*range(1, 101)), is_complete=False)
    assert recent.after(100 - KEPT_EVENTS - 1) is None
    assert len(recent.after(100 - KEPT_EVENTS)) == KEPT_EVENTS
    recent.add(101, encoded(101, size=2 * KEPT_BYTES), is_complete=True)
    assert recent.after(99) is None
    assert [one.number for one in recent.after(100)] == [101]


def test_after_a_pause_only_the_latest_events_are_read():
    recent = recent_after(0)
    recent.add(2, encoded(1, 2), is_complete=False)
    assert recent.read_above(1000) == 1000 - KEPT_EVENTS
    recent.add(1000, encoded(*range(1001 - KEPT_EVENTS, 1001)), is_complete=False)
    assert recent.after(2) is None
    assert len(recent.after(1000 - KEPT_EVENTS)) == KEPT_EVENTS
