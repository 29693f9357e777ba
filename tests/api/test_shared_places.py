"""Open uploads and streams: counted by the database for all API processes together."""

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
from tests.api.support import assert_problem, bearer, key_for, serving, stalled, wait_until

STREAM = {"Accept": "text/event-stream"}
FORM = "multipart/form-data; boundary=B"
START_OF_FORM = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.zip"\r\n\r\nstart'


@pytest.fixture
def settings(settings: Settings) -> Settings:
    bounds = {"quota_uploads": 2, "quota_streams": 2}
    return settings.model_copy(update={"blobs": (settings.home / "blobs").as_uri(), **bounds})


@pytest.fixture
def processes(settings, database, key, monkeypatch):
    """Clients of two API processes on one database. Both renew their places often."""
    monkeypatch.setattr(turns, "RENEW_EVERY_S", 0.1)
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(create_app(settings)))[0] for _ in range(2)]
        yield [stack.enter_context(httpx2.Client(base_url=url, headers=bearer(key), timeout=60)) for url in urls]


def places(database, quota: Quota) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(TABLES[quota]))


def used(client: httpx2.Client, quota: Quota) -> float:
    return {one["quota"]: one["used"] for one in client.get("/v1/usage").json()["quotas"]}[quota]


def new_dataset(client: httpx2.Client) -> str:
    return f"/v1/datasets/{client.post('/v1/datasets', json={'name': 'pets'}).json()['id']}/content"


def begun_content(client: httpx2.Client, key: str):
    return stalled(client, key, "PUT", new_dataset(client), b"start", "application/octet-stream", 10_000)


def begun_form(client: httpx2.Client, key: str):
    return stalled(client, key, "POST", "/v1/datasets", START_OF_FORM, FORM, 10_000)


def open_stream(client: httpx2.Client, key: str):
    return client.stream("GET", "/v1/events", headers=STREAM)


def whole_content(client: httpx2.Client) -> httpx2.Response:
    return client.put(new_dataset(client), content=b"whole")


def whole_form(client: httpx2.Client) -> httpx2.Response:
    return client.post("/v1/datasets", data={"name": "pets"}, files={"file": ("x.zip", b"whole")})


def whole_stream(client: httpx2.Client) -> httpx2.Response:
    with client.stream("GET", "/v1/events", headers=STREAM) as answer:
        if answer.status_code != 200:
            answer.read()
        return answer


UPLOADS = Quota.UPLOADS, "concurrent uploads"
STREAMS = Quota.STREAMS, "concurrent event streams"


@pytest.mark.parametrize(
    ("quota", "counted", "begin", "one_more", "accepted"),
    [
        (*UPLOADS, begun_content, whole_content, 202),
        (*UPLOADS, begun_form, whole_form, 201),
        (*STREAMS, open_stream, whole_stream, 200),
    ],
    ids=["uploads", "forms", "streams"],
)
def test_what_is_open_in_one_process_counts_in_every_other_until_it_ends(
    processes, key, database, quota, counted, begin, one_more, accepted
):
    with ExitStack() as stack:
        for client in processes:
            stack.enter_context(begin(client, key))
        wait_until(lambda: places(database, quota) == 2)
        for client in processes:
            refused = one_more(client)
            assert_problem(refused, 429, "quota_exceeded")
            assert f"`{quota}` ({counted}): 2 used, 2 allowed" in refused.json()["detail"]
            assert refused.headers["retry-after"]
            assert used(client, quota) == 2
    wait_until(lambda: places(database, quota) == 0)
    assert one_more(processes[0]).status_code == accepted


def test_places_are_renewed_for_as_long_as_their_process_lives(processes, key, database):
    with open_stream(processes[0], key), open_stream(processes[1], key):
        with database.write() as session:
            session.execute(update(TABLES[Quota.STREAMS]).values(expires_at=db_now(1)))
        threading.Event().wait(1.5)  # until they would have expired
        assert_problem(whole_stream(processes[0]), 429, "quota_exceeded")


def test_places_that_were_lost_in_an_outage_come_back(processes, key, database):
    with open_stream(processes[0], key), open_stream(processes[1], key):
        with database.write() as session:
            session.execute(delete(TABLES[Quota.STREAMS]))
        wait_until(lambda: places(database, Quota.STREAMS) == 2)
        assert_problem(whole_stream(processes[0]), 429, "quota_exceeded")


def test_a_place_given_back_during_a_renewal_is_not_restored_by_it(settings, key, database, monkeypatch):
    renew, renewing, may_renew = SharedPlaces._renew, threading.Event(), threading.Event()

    def renew_late(self, held):
        renewing.set()
        assert may_renew.wait(60)
        renew(self, held)

    monkeypatch.setattr(turns, "RENEW_EVERY_S", 0.01)
    monkeypatch.setattr(SharedPlaces, "_renew", renew_late)

    async def give_back_while_renewing() -> None:
        held = SharedPlaces(database)
        loop = asyncio.create_task(held.run())
        async with held.taken(Quota.STREAMS, "ada"):
            assert await asyncio.to_thread(renewing.wait, 60)
            # Enough for a deletion that does not wait for the renewal.
            asyncio.get_running_loop().call_later(0.5, may_renew.set)
        assert await asyncio.to_thread(may_renew.wait, 60)
        await asyncio.sleep(0.2)  # and for a renewal that runs after the deletion
        loop.cancel()

    asyncio.run(give_back_while_renewing())
    assert places(database, Quota.STREAMS) == 0


def test_an_owner_that_is_suspended_may_follow_its_jobs_and_upload_nothing(processes, key, database):
    content = new_dataset(processes[0])
    with database.write() as session:
        owners.suspend(session, "ada")
    assert whole_stream(processes[0]).status_code == 200
    assert_problem(processes[0].put(content, content=b"whole"), 403, "owner_suspended")
    assert_problem(whole_form(processes[0]), 403, "owner_suspended")


def test_one_owners_streams_leave_another_owners_quota_alone(processes, key, database):
    with open_stream(processes[0], key), open_stream(processes[1], key):
        headers = {**STREAM, **bearer(key_for(database, "eve"))}
        with processes[0].stream("GET", "/v1/events", headers=headers) as answer:
            assert answer.status_code == 200
