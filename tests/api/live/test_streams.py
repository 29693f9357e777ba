"""Live events arrive in order from the client's position to the end, despite outages, stops and slow readers."""

import asyncio
import time
from contextlib import ExitStack

import httpx2
import pytest

from api.live import source
from api.live.hub import Hub
from api.live.source import Channel, ChannelKind, ChannelState, EncodedEvent
from api.live.streams import stream_chunks, wants_stream
from heldout.service.settings import Settings
from models.store import keys
from tests.api.live.streaming import (
    STREAM,
    add_warnings,
    connect_without_reading,
    count_unsent_bytes,
    follow,
    follow_job,
)
from tests.api.support import (
    assert_problem,
    bearer,
    database_outage,
    make_key,
    postgresql_only,
    run_server,
    sqlite_only,
    submit,
    wait_until,
)

SOON_S = 10.0  # a shared machine can stall for seconds; a ping comes after 15


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Allow many connections, because all clients of a test have one address."""
    return settings.model_copy(update={"max_connections_per_address": settings.max_connections})


@pytest.fixture
def hub(app):
    return app.state.context.hub


def test_a_stream_has_every_event_of_the_list_and_ends_with_the_job(service, worker, spec):
    job = submit(service, spec)["id"]
    with follow_job(service, job) as messages:
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
    assert [event["type"] for event in listed] == ["job.queued", "job.started", "job.succeeded"]
    assert (heard[0].id, heard[0].event, heard[0].data) == ("3", "job.succeeded", listed[2])


def test_a_stream_continues_after_the_clients_last_event(service, database, worker, spec):
    job = submit(service, spec)["id"]
    add_warnings(database, job, 3 * source.PAGE)
    worker.fail(worker.claim())
    count = 3 * source.PAGE + 3
    for query, headers, first in (
        ("", {}, 1),
        ("?after=2", {}, 3),
        ("", {"Last-Event-ID": "2"}, 3),
        ("?after=2", {"Last-Event-ID": str(count - 1)}, count),  # a browser repeats its URL when it reconnects
    ):
        with follow_job(service, job, query, **headers) as messages:
            *heard, end = messages
        assert [int(message.id) for message in heard] == list(range(first, count + 1))
        assert heard[-1].event == "job.failed"
        assert end.comment == "the job has ended"
    listed = service.get(f"/v1/jobs/{job}/events?limit=200", headers={"Last-Event-ID": str(count - 1)}).json()["data"]
    assert [event["id"] for event in listed] == [count]


def test_a_job_can_be_followed_from_now_on(service, database, worker, spec):
    job = submit(service, spec)["id"]
    held = worker.claim()
    with follow_job(service, job, "?after=latest") as messages:
        start = next(messages)
        assert (start.id, start.event, start.data) == ("2", None, None)
        add_warnings(database, job)
        assert next(messages).id == "3"
        worker.fail(held)
        assert [message.event for message in messages] == ["job.failed", None]
    empty = service.get(f"/v1/jobs/{job}/events?after=latest").json()
    assert (empty["data"], empty["has_more"], empty["next"]) == ([], False, 4)
    assert service.get(f"/v1/jobs/{job}/events?after=latest", headers=STREAM).status_code == 204


@sqlite_only
def test_a_client_that_has_seen_the_end_should_not_reconnect(service, worker, spec):
    job = submit(service, spec)["id"]
    service.post(f"/v1/jobs/{job}/cancel")
    for number in ("2", "7"):
        answer = service.get(f"/v1/jobs/{job}/events", headers={**STREAM, "Last-Event-ID": number})
        assert (answer.status_code, answer.content) == (204, b"")


@sqlite_only
def test_invalid_event_numbers_are_refused(service, spec):
    job = submit(service, spec)["id"]
    for number in ["x", "-1", "1.5", "99999999999", "٣", "null"]:
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
def test_only_clients_that_accept_a_stream_get_one(accept, stream):
    assert wants_stream(accept) is stream


@sqlite_only
def test_clients_that_do_not_accept_a_stream_get_a_list(service, spec):
    job = submit(service, spec)["id"]
    answer = service.get(f"/v1/jobs/{job}/events")
    assert (answer.json()["object"], answer.headers["vary"]) == ("list", "Accept")


@sqlite_only
def test_streams_require_a_key_of_the_owner(service, database, spec):
    job = submit(service, spec)["id"]
    path = f"{service.base_url}/v1/jobs/{job}/events"
    assert_problem(httpx2.get(path, headers=STREAM), 401, "unauthenticated")
    eve = {**STREAM, **bearer(make_key(database, "mallory"))}
    assert_problem(httpx2.get(path, headers=eve), 404, "job_not_found")


@sqlite_only
def test_a_quiet_stream_sends_pings(service, hub, spec):
    hub.ping_s = 0.3
    job = submit(service, spec)["id"]
    with follow_job(service, job) as messages:
        assert next(messages).event == "job.queued"
        assert [next(messages).comment for _ in range(3)] == ["ping"] * 3


def test_deleting_a_job_ends_its_stream(service, database, hub, spec):
    job = submit(service, spec)["id"]
    with follow_job(service, job) as messages:
        next(messages)
        with database.write() as session:
            session.connection().exec_driver_sql("DELETE FROM jobs")
        assert next(messages).comment == "the job was deleted"
        assert list(messages) == []
    wait_until(lambda: hub.streams == 0, "the end of the stream")


def test_revoking_a_key_ends_only_its_streams(service, database, hub, spec):
    hub.keys_every_s = 0.1
    job = submit(service, spec)["id"]
    other = make_key(database, "ada")
    with httpx2.Client(base_url=service.base_url, headers=bearer(other)) as second, ExitStack() as stack:
        mine = stack.enter_context(follow_job(service, job))
        its = stack.enter_context(follow_job(second, job))
        next(mine), next(its)
        with database.write() as session:
            keys.revoke(session, other.split("_")[1])
        assert next(its).comment == "the key was revoked"
        add_warnings(database, job)
        assert next(mine).event == "job.warning"


@sqlite_only
def test_clients_that_disconnect_leave_nothing_behind(app, key, database, hub, spec):
    with run_server(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key)) as service:
        job = submit(service, spec)["id"]
        readers = [connect_without_reading(url, job, key) for _ in range(20)]
        wait_until(lambda: hub.streams == 20, "opening all streams")
        for reader in readers:
            reader.close()
        wait_until(lambda: hub.streams == 0, "the end of all streams")


@sqlite_only
def test_a_stopping_service_ends_its_streams_and_says_so(app, key, spec):
    with run_server(app) as (url, server), httpx2.Client(base_url=url, headers=bearer(key)) as service:
        job = submit(service, spec)["id"]
        with follow_job(service, job) as messages:
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
    with run_server(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key)) as service:
        job = submit(service, spec)["id"]
        with follow_job(service, job) as messages:
            assert next(messages).event == "job.queued"
            with database_outage(app, file):
                assert [next(messages).comment for _ in range(3)] == ["ping"] * 3
            worker.fail(worker.claim())
            heard = [message.event for message in messages if message.event]
        assert heard == ["job.started", "job.failed"]


@sqlite_only
def test_a_slow_reader_misses_nothing_and_uses_little_memory(app, key, database, worker, hub, spec):
    """A client does not read 3 MB of events, of which the server buffers a few hundred kilobytes."""
    with run_server(app) as (url, server), httpx2.Client(base_url=url, headers=bearer(key)) as service:
        job = submit(service, spec)["id"]
        held = worker.claim()
        slow = connect_without_reading(url, job, key)
        with follow_job(service, job) as brisk:
            assert [next(brisk).event for _ in range(2)] == ["job.queued", "job.started"]
            for _ in range(10):
                add_warnings(database, job, 40, "x" * 8_000)
                assert {next(brisk).event for _ in range(40)} == {"job.warning"}
                assert count_unsent_bytes(server) < 64 * 1024 + (source.PAGE + 1) * 8_500
        worker.succeed(held)
        slow.settimeout(240)
        received = bytearray()
        while chunk := slow.recv(1 << 20):
            received += chunk
        slow.close()
    numbers = [int(line[4:]) for line in received.split(b"\n") if line.startswith(b"id: ")]
    assert numbers == list(range(1, 404))
    assert b": the job has ended\n\n" in received


@postgresql_only
def test_sixty_streams_share_one_query(app, key, database, hub, spec):
    measure_streams(app, key, database, hub, spec, 60)


@pytest.mark.proof
def test_a_thousand_streams_share_one_query(app, key, database, hub, spec):
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
        grown = get_resident_bytes() - before
        for _ in range(rounds):
            await asyncio.sleep(0.5)
            assert pool.checkedout() <= 2, "at most the hub's query and ours"
            await asyncio.to_thread(lambda: [add_warnings(database, job) for job in ids])
        await asyncio.gather(*followers)
        assert grown / count < 250_000, "bytes per stream, including its client"

    with run_server(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key), timeout=30) as service:
        pool = app.state.context.database.engine.pool
        ids = [submit(service, spec)["id"] for _ in range(jobs)]
        before = get_resident_bytes()
        asyncio.run(follow_all(url, ids))
        wait_until(lambda: hub.streams == 0, "the end of all streams")
    delays = sorted(at - event["data"]["sent_at"] for at, event in heard if event["type"] == "job.warning")
    assert len(delays) == rounds * count
    p99 = delays[int(0.99 * len(delays))]
    print(f"{count} streams: median {delays[len(delays) // 2]:.3f} s, p99 {p99:.3f} s")
    assert p99 < SOON_S


def get_resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_only_the_missing_events_are_read_once_for_all_streams_that_need_them():
    """Streams at the same event share a read, others read their own, and deleted events are not read again."""

    class Source:
        def __init__(self) -> None:
            self.reads: list[tuple[str, int]] = []

        def states(self, channels):
            return {channel: ChannelState(1, has_ended=is_over, last_event=12) for channel in channels}

        def page(self, channel, after):
            self.reads.append((channel.id, after))
            return [EncodedEvent(number, b"%d " % number) for number in range(after + 1, 11)]

        def revoked(self, key_ids):
            return set()

    async def listen(hub: Hub, job: str, cursor: int) -> bytes:
        with hub.stream(Channel(ChannelKind.JOB, job), 5, "key") as followed:
            chunks = stream_chunks(hub, followed, cursor=cursor, first=(), key_id="key")
            return b"".join([chunk async for chunk in chunks])

    async def follow_all() -> list[bytes]:
        nonlocal is_over
        hub = Hub(source_of_12, 0.01)
        polling = asyncio.create_task(hub.run())
        streams = [("alike", 5)] * 3 + [("behind", 3), ("behind", 4)]
        async with asyncio.timeout(60):
            ending = asyncio.gather(*(listen(hub, job, cursor) for job, cursor in streams))
            while ("alike", 10) not in source_of_12.reads:
                await asyncio.sleep(0.01)
            is_over = True
            found = await ending
        polling.cancel()
        return found

    is_over, source_of_12 = False, Source()
    *alike, behind_by_2, behind_by_1 = asyncio.run(follow_all())
    end = b": the job has ended\n\n"
    assert alike == [b"6 7 8 9 10 " + end] * 3
    assert (behind_by_2, behind_by_1) == (b"4 5 6 7 8 9 10 " + end, b"5 6 7 8 9 10 " + end)
    reads = source_of_12.reads
    assert [after for job, after in reads if job == "alike"] == [5, 10], "events 11 and 12 are deleted"
    assert {after for job, after in reads if job == "behind"} == {3, 4, 10}
