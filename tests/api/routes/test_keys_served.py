"""Keys: what opens the service, what does not, and that revoking acts at once."""

import re

import pytest

from models.ids import new_id
from models.store import keys
from models.tables import KeyRow
from tests.api.support import assert_problem, bearer, sqlite_only, submitted


def test_a_key_makes_another_that_works_until_it_is_revoked(client, key):
    answer = client.post("/v1/keys")
    made = answer.json()
    assert answer.status_code == 201
    assert list(made) == ["id", "object", "created_at", "revoked_at", "key"]
    assert (made["object"], made["revoked_at"]) == ("key", None)
    assert made["key"].startswith(f"ho_{made['id']}_")
    assert client.get("/v1/jobs", headers=bearer(made["key"])).status_code == 200
    assert client.delete(f"/v1/keys/{made['id']}").status_code == 204
    assert_problem(client.get("/v1/jobs", headers=bearer(made["key"])), 401, "unauthenticated")
    assert client.get("/v1/jobs").status_code == 200
    assert client.delete(f"/v1/keys/{made['id']}").status_code == 204


def test_keys_are_listed_without_their_secrets(client, key):
    made = client.post("/v1/keys").json()
    client.delete(f"/v1/keys/{made['id']}")
    answer = client.get("/v1/keys")
    first, second = answer.json()["data"]
    assert first["id"] == key.split("_")[1]
    assert second["id"] == made["id"]
    assert second["revoked_at"] is not None
    assert list(first) == ["id", "object", "created_at", "revoked_at"]
    for text in (key, made["key"]):
        assert text.split("_", 2)[2] not in answer.text


def test_a_revoked_key_changes_nothing_and_learns_nothing(client, key, spec):
    job = submitted(client, spec)["id"]
    assert client.delete(f"/v1/keys/{key.split('_')[1]}").status_code == 204
    for answer in (
        client.post("/v1/jobs", json=spec),
        client.get("/v1/jobs"),
        client.get(f"/v1/jobs/{job}"),
        client.get(f"/v1/jobs/{job}/events"),
        client.post("/v1/keys"),
    ):
        problem = assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "revoked" not in problem["title"]


def test_another_owners_keys_are_neither_seen_nor_revoked(client, stranger, key):
    mine = key.split("_")[1]
    assert mine not in stranger.get("/v1/keys").text
    assert_problem(stranger.delete(f"/v1/keys/{mine}"), 404, "key_not_found")
    assert client.get("/v1/jobs").status_code == 200


@sqlite_only
@pytest.mark.parametrize("key_id", ["x", "%00", "e" * 5000, "%ff"])
def test_ids_that_are_no_keys_are_not_found(client, key_id):
    assert_problem(client.delete(f"/v1/keys/{key_id}"), 404, "key_not_found")


@sqlite_only
@pytest.mark.parametrize(
    "header",
    [
        *(
            "",
            "Bearer",
            "Bearer ",
            "Basic {key}",
            "{key}",
            "Bearer {key}x",
            "Bearer {id}",
            "Bearer ho_{id}_",
            "Bearer ho__",
        ),
        *("Bearer {key} {key}", "Bearer " + "k" * 5000, "Bearer hö_ä_ü", "Bearer {key},", "Token {key}"),
    ],
)
def test_whatever_is_no_key_is_refused(client, key, header):
    text = header.format(key=key, id=key.split("_")[1])
    for path in ("/v1/jobs", f"/v1/jobs/{new_id('job')}"):
        answer = client.get(path, headers={"Authorization": text.encode("latin-1")})
        assert_problem(answer, 401, "unauthenticated")


@sqlite_only
@pytest.mark.parametrize("path", ["/v1/jobs?colour=red", "/v1/jobs?limit=0", "/v1/jobs/x", "/v1/jobs?after=x"])
def test_a_stranger_hears_of_the_key_before_anything_else(client, path):
    assert_problem(client.get(path, headers=bearer("none")), 401, "unauthenticated")
    assert client.get(path).status_code in {400, 404}


@sqlite_only
def test_the_scheme_may_be_written_in_any_case(client, key):
    assert client.get("/v1/jobs", headers={"Authorization": f"bearer {key}"}).status_code == 200


@sqlite_only
def test_every_route_but_the_open_ones_needs_a_key(client):
    document = client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for id_ in ("x", new_id("job")):
                answer = client.request(method, re.sub(r"\{\w+\}", id_, path), headers=bearer("none"))
                assert (answer.status_code == 401) == ("security" in operation), (method, path, answer.text)
    public = {
        path for path, operations in document["paths"].items() if "security" not in next(iter(operations.values()))
    }
    assert public == {"/livez", "/readyz", "/metrics"}


def test_secrets_are_hashed_at_rest(client, database, key):
    with database.read() as session:
        row = session.get_one(KeyRow, key.split("_")[1])
        stored = "".join(str(getattr(row, column.name)) for column in row.__table__.columns)
        assert key.split("_", 2)[2] not in stored
        assert keys.caller_of(session, key) is not None
