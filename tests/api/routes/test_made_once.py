"""Datasets, keys and webhooks are made once, however often a request with an Idempotency-Key is repeated."""

import json

import pytest
from sqlalchemy import select

from heldout.service.settings import Settings
from models.tables import IdempotencyRow
from tests.api.support import assert_problem, bearer, sqlite_only

ONCE = {"Idempotency-Key": "once"}
HOOK = {"url": "https://example.com/hook", "events": ["job.succeeded"]}
LIMIT = 10_000

pytestmark = sqlite_only


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_upload_bytes": LIMIT, "blobs": (settings.home / "blobs").as_uri()})


def read_stored(database) -> str:
    with database.read() as session:
        return json.dumps([row.body for row in session.scalars(select(IdempotencyRow))])


@pytest.mark.parametrize(("route", "body"), [("/v1/datasets", {"name": "pets"}), ("/v1/webhooks", HOOK)])
def test_a_repeated_request_makes_nothing_new_and_another_body_is_refused(client, route, body):
    first, again = (client.post(route, json=body, headers=ONCE) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    mine = [item["id"] for item in client.get(route).json()["data"] if not item.get("bundled")]
    assert mine == [first.json()["id"]]
    changed = body | {"description": "x"} if "name" in body else body | {"events": ["job.failed"]}
    assert_problem(client.post(route, json=changed, headers=ONCE), 422, "idempotency_key_reused")
    assert client.post(route, json=body).json()["id"] != first.json()["id"]


def test_a_new_key_is_only_repeated_to_its_creator_and_never_stored(client, database, key):
    first, again = (client.post("/v1/keys", headers=ONCE).json() for _ in range(2))
    assert first == again
    assert client.get("/v1/jobs", headers=bearer(first["key"])).status_code == 200
    assert len(client.get("/v1/keys").json()["data"]) == 2
    assert first["key"].split("_", 2)[2] not in read_stored(database)
    other = client.post("/v1/keys", headers=ONCE | bearer(first["key"]))
    assert_problem(other, 422, "idempotency_key_reused")
    assert client.post("/v1/keys").json()["key"] != first["key"]


def test_a_webhooks_secret_is_stored_only_with_the_webhook(client, database):
    made = client.post("/v1/webhooks", json=HOOK, headers=ONCE).json()
    assert made["secret"] not in read_stored(database)
    client.delete(f"/v1/webhooks/{made['id']}")
    assert_problem(client.post("/v1/webhooks", json=HOOK, headers=ONCE), 404, "webhook_not_found")


def test_a_form_sent_twice_makes_one_dataset(client):
    def send(content: bytes):
        return client.post("/v1/datasets", data={"name": "pets"}, files={"file": ("a.zip", content)}, headers=ONCE)

    # A refused request does not use up the key.
    assert_problem(send(b"x" * (LIMIT + 1)), 413, "body_too_large")
    first, again = send(b"content"), send(b"content")
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert_problem(send(b"other content"), 422, "idempotency_key_reused")
    assert client.get(f"/v1/datasets/{first.json()['id']}").json()["status"] == "checking"
