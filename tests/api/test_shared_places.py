"""The database counts open uploads and streams of all API processes together."""

import asyncio
import threading
from contextlib import ExitStack

import httpx2
import pytest
from sqlalchemy import delete, func, select, update

from api import turns
from api.app import create_app
from api.turns import SharedPlaces
from heldout.access.rights import Quota
from heldout.service.settings import Settings
from models.database import db_now
from models.store import owners
from models.store.places import TABLES
from tests.api.support import (
    assert_problem,
    bearer,
    make_key,
    run_server,
    sqlite_only,
    start_stalled_request,
    wait_until,
)

# tests/models/store/test_places.py proves the SQL on both databases.
pytestmark = sqlite_only

STREAM = {"Accept": "text/event-stream"}
FORM = "multipart/form-data; boundary=B"
START_OF_FORM = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.zip"\r\n\r\nstart'


@pytest.fixture
def settings(settings: Settings) -> Settings:
    bounds = {"quota_uploads": 2, "quota_streams": 2}
    return settings.model_copy(update={"blobs": (settings.home / "blobs").as_uri(), **bounds})


@pytest.fixture
def processes(settings, database, key, monkeypatch):
    """Return clients of two API processes on one database, which renew their places often."""
    monkeypatch.setattr(turns, "RENEW_EVERY_S", 0.1)
    with ExitStack() as stack:
        urls = [stack.enter_context(run_server(create_app(settings)))[0] for _ in range(2)]
        yield [stack.enter_context(httpx2.Client(base_url=url, headers=bearer(key), timeout=60)) for url in urls]


def count_places(database, quota: Quota) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(TABLES[quota]))


def get_used(client: httpx2.Client, quota: Quota) -> float:
    return {entry["quota"]: entry["used"] for entry in client.get("/v1/usage").json()["quotas"]}[quota]


def announce_dataset(client: httpx2.Client) -> str:
    return f"/v1/datasets/{client.post('/v1/datasets', json={'name': 'pets'}).json()['id']}/content"


def start_content(client: httpx2.Client, key: str):
    return start_stalled_request(
        client, key, "PUT", announce_dataset(client), b"start", "application/octet-stream", 10_000
    )


def start_form(client: httpx2.Client, key: str):
    return start_stalled_request(client, key, "POST", "/v1/datasets", START_OF_FORM, FORM, 10_000)


def open_stream(client: httpx2.Client, key: str):
    return client.stream("GET", "/v1/events", headers=STREAM)


def send_content(client: httpx2.Client) -> httpx2.Response:
    return client.put(announce_dataset(client), content=b"whole")


def send_form(client: httpx2.Client) -> httpx2.Response:
    return client.post("/v1/datasets", data={"name": "pets"}, files={"file": ("x.zip", b"whole")})


def open_and_close_stream(client: httpx2.Client) -> httpx2.Response:
    with client.stream("GET", "/v1/events", headers=STREAM) as answer:
        if answer.status_code != 200:
            answer.read()
        return answer


UPLOADS = Quota.UPLOADS, "concurrent uploads"
STREAMS = Quota.STREAMS, "concurrent event streams"


@pytest.mark.parametrize(
    ("quota", "counted", "begin", "one_more", "accepted"),
    [
        (*UPLOADS, start_content, send_content, 202),
        (*UPLOADS, start_form, send_form, 201),
        (*STREAMS, open_stream, open_and_close_stream, 200),
    ],
    ids=["uploads", "forms", "streams"],
)
def test_open_uploads_and_streams_count_in_every_process(
    processes, key, database, quota, counted, begin, one_more, accepted
):
    with ExitStack() as stack:
        for client in processes:
            stack.enter_context(begin(client, key))
        wait_until(lambda: count_places(database, quota) == 2)
        for client in processes:
            refused = one_more(client)
            assert_problem(refused, 429, "quota_exceeded")
            assert f"`{quota}` ({counted}): 2 used, 2 allowed" in refused.json()["detail"]
            assert refused.headers["retry-after"]
            assert get_used(client, quota) == 2
    wait_until(lambda: count_places(database, quota) == 0)
    assert one_more(processes[0]).status_code == accepted


def test_places_are_renewed_for_as_long_as_their_process_lives(processes, key, database):
    with open_stream(processes[0], key), open_stream(processes[1], key):
        with database.write() as session:
            session.execute(update(TABLES[Quota.STREAMS]).values(expires_at=db_now(-1)))
        wait_until(lambda: get_used(processes[0], Quota.STREAMS) == 2)
        assert_problem(open_and_close_stream(processes[0]), 429, "quota_exceeded")


def test_places_lost_in_an_outage_are_restored(processes, key, database):
    with open_stream(processes[0], key), open_stream(processes[1], key):
        with database.write() as session:
            session.execute(delete(TABLES[Quota.STREAMS]))
        wait_until(lambda: count_places(database, Quota.STREAMS) == 2)
        assert_problem(open_and_close_stream(processes[0]), 429, "quota_exceeded")


def test_a_place_given_back_during_a_renewal_is_not_restored_by_it(settings, key, database, monkeypatch):
    write, renewing, may_renew = SharedPlaces._write, threading.Event(), threading.Event()

    def renew_late(self, change, changed):
        if change is turns.places.renew:
            renewing.set()
            assert may_renew.wait(60)
        write(self, change, changed)

    monkeypatch.setattr(turns, "RENEW_EVERY_S", 0.01)
    monkeypatch.setattr(SharedPlaces, "_write", renew_late)

    async def give_back_while_renewing() -> None:
        held = SharedPlaces(database)
        loop = asyncio.create_task(held.run())
        async with held.taken(Quota.STREAMS, "ada"):
            assert await asyncio.to_thread(renewing.wait, 60)
            # Long enough for a deletion that wrongly does not wait for the renewal.
            asyncio.get_running_loop().call_later(0.5, may_renew.set)
        assert await asyncio.to_thread(may_renew.wait, 60)
        await asyncio.sleep(0.2)  # and for a renewal that wrongly runs after the deletion
        loop.cancel()

    asyncio.run(give_back_while_renewing())
    assert count_places(database, Quota.STREAMS) == 0


def test_a_suspended_owner_may_follow_jobs_but_not_upload(processes, key, database):
    content = announce_dataset(processes[0])
    with database.write() as session:
        owners.suspend(session, "ada")
    assert open_and_close_stream(processes[0]).status_code == 200
    assert_problem(processes[0].put(content, content=b"whole"), 403, "owner_suspended")
    assert_problem(send_form(processes[0]), 403, "owner_suspended")


def test_one_owners_streams_do_not_use_another_owners_quota(processes, key, database):
    with open_stream(processes[0], key), open_stream(processes[1], key):
        headers = {**STREAM, **bearer(make_key(database, "eve"))}
        with processes[0].stream("GET", "/v1/events", headers=headers) as answer:
            assert answer.status_code == 200
