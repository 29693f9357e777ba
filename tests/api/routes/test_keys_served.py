"""Keys open the service until they expire or are revoked, which takes effect at once."""

import re
from datetime import UTC, datetime, timedelta

import httpx2
from fastapi.testclient import TestClient

from heldout.access.rights import Quota
from models.ids import make_id
from models.store import keys, owners
from models.tables import KeyRow
from tests.api.support import assert_problem, bearer, make_key, sqlite_only, submit

# tests/models/store proves the SQL on both databases.
pytestmark = sqlite_only

FIELDS = ["id", "object", "scopes", "made_by", "created_at", "expires_at", "last_used_at", "revoked_at"]


def test_a_key_can_create_another_that_works_until_revoked(client, key):
    answer = client.post("/v1/keys")
    made = answer.json()
    assert answer.status_code == 201
    assert list(made) == [*FIELDS, "key"]
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
    assert list(first) == FIELDS
    for text in (key, made["key"]):
        assert text.split("_", 2)[2] not in answer.text


def test_a_revoked_key_can_neither_change_nor_read_anything(client, key, spec):
    job = submit(client, spec)["id"]
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


def test_invalid_keys_are_refused(client, key):
    for header in [
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
    ]:
        text = header.format(key=key, id=key.split("_")[1])
        for path in ("/v1/jobs", f"/v1/jobs/{make_id('job')}"):
            answer = client.get(path, headers={"Authorization": text.encode("latin-1")})
            assert_problem(answer, 401, "unauthenticated")


def test_the_key_is_checked_before_anything_else(client):
    for path in ["/v1/jobs?colour=red", "/v1/jobs?limit=0", "/v1/jobs/x", "/v1/jobs?after=x"]:
        assert_problem(client.get(path, headers=bearer("none")), 401, "unauthenticated")
        assert client.get(path).status_code in {400, 404}


def test_the_scheme_may_be_written_in_any_case(client, key):
    assert client.get("/v1/jobs", headers={"Authorization": f"bearer {key}"}).status_code == 200


def test_every_route_except_the_public_ones_needs_a_key(client):
    document = client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for id_ in ("x", make_id("job")):
                answer = client.request(method, re.sub(r"\{\w+\}", id_, path), headers=bearer("none"))
                assert (answer.status_code == 401) == ("security" in operation), (method, path, answer.text)
    public = {
        path for path, operations in document["paths"].items() if "security" not in next(iter(operations.values()))
    }
    assert public == {"/livez", "/readyz", "/metrics"}


# --- scopes, expiry, rolling ---------------------------------------------------------------------


def make_key_for(client, *scopes: str, **wanted) -> dict:
    answer = client.post("/v1/keys", json={"scopes": list(scopes), **wanted})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_key_can_do_only_what_its_scopes_allow(client, spec):
    job = submit(client, spec)["id"]
    history = {"history": {"loss": [1.0, 0.5], "val_loss": [1.0, 0.7]}}
    asked = {
        "read": [("GET", f"/v1/jobs/{job}", None), ("GET", "/v1/jobs", None), ("POST", "/v1/diagnoses", history)],
        "write": [("POST", "/v1/jobs", spec), ("PATCH", f"/v1/jobs/{job}", {"name": "other"})],
        "admin": [("GET", "/v1/keys", None), ("POST", "/v1/keys", None), ("GET", "/v1/activity", None)],
    }
    for scope in asked:
        key = bearer(make_key_for(client, scope)["key"])
        for needed, requests in asked.items():
            for method, path, body in requests:
                answer = client.request(method, path, json=body, headers=key)
                if needed == scope:
                    assert answer.status_code < 300, (scope, method, path, answer.text)
                else:
                    problem = assert_problem(answer, 403, "insufficient_scope")
                    assert repr(needed) in problem["detail"]


def test_a_session_has_the_scopes_of_its_key(client, app, spec):
    reader = make_key_for(client, "read")["key"]
    browser = TestClient(app, headers={"Origin": "http://testserver"})
    assert browser.post("/v1/session", json={"key": reader}).status_code == 201
    assert browser.get("/v1/jobs").status_code == 200
    assert_problem(browser.post("/v1/jobs", json=spec), 403, "insufficient_scope")


def test_a_key_cannot_grant_more_than_it_has(client):
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    weak = bearer(make_key_for(client, "read", "admin", expires_at=soon)["key"])
    refused = client.post("/v1/keys", json={"scopes": ["read", "write"]}, headers=weak)
    assert_problem(refused, 422, "key_refused", "/scopes")
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    assert_problem(client.post("/v1/keys", json={"expires_at": later}, headers=weak), 422, "key_refused", "/expires_at")
    made = client.post("/v1/keys", headers=weak).json()
    assert made["scopes"] == ["read", "admin"]
    assert datetime.fromisoformat(made["expires_at"]) <= datetime.fromisoformat(soon)


def test_an_expired_key_is_refused_and_a_past_expiry_is_invalid(client, database):
    key = make_key_for(client, "read", expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert client.get("/v1/jobs", headers=bearer(key["key"])).status_code == 200
    with database.write() as session:
        session.get_one(KeyRow, key["id"]).expires_at = datetime.now(UTC) - timedelta(seconds=1)
    assert_problem(client.get("/v1/jobs", headers=bearer(key["key"])), 401, "unauthenticated")
    with database.read() as session:
        assert keys.list_revoked(session, [key["id"]]) == {key["id"]}, "its streams must end"
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert_problem(client.post("/v1/keys", json={"expires_at": past}), 422, "key_refused", "/expires_at")


def test_a_key_is_rolled_with_an_overlap(client, database):
    old = make_key_for(client, "read")
    new = client.post(f"/v1/keys/{old['id']}/roll", json={"overlap_s": 3600}).json()
    assert new["scopes"] == ["read"]
    for key in (old, new):
        assert client.get("/v1/jobs", headers=bearer(key["key"])).status_code == 200
    ends = {key["id"]: key["expires_at"] for key in client.get("/v1/keys").json()["data"]}
    left = datetime.fromisoformat(ends[old["id"]]) - datetime.now(UTC)
    assert timedelta(minutes=58) < left <= timedelta(hours=1)
    assert ends[new["id"]] is None
    newest = client.post(f"/v1/keys/{new['id']}/roll", json={"overlap_s": 0}).json()
    assert_problem(client.get("/v1/jobs", headers=bearer(new["key"])), 401, "unauthenticated")
    assert client.get("/v1/jobs", headers=bearer(newest["key"])).status_code == 200
    assert_problem(client.post(f"/v1/keys/{new['id']}/roll"), 404, "key_not_found")


def limit_keys(database, owner: str, most: int) -> None:
    with database.write() as session:
        owners.limit(session, owner, changes={Quota.KEYS: most})


def test_rolling_respects_the_quota_of_keys(service, database):
    """Each roll with an overlap leaves one more valid key."""
    mine = make_key(database, "eve")
    limit_keys(database, "eve", 3)
    headers = bearer(mine)

    def roll(overlap_s: float):
        return service.post(f"/v1/keys/{mine.split('_')[1]}/roll", json={"overlap_s": overlap_s}, headers=headers)

    assert roll(3600).status_code == 201
    assert roll(3600).status_code == 201
    assert_problem(roll(3600), 429, "quota_exceeded")
    ended = roll(0)
    assert ended.status_code == 201, "it replaces the old key"
    newest = bearer(ended.json()["key"])
    with database.read() as session:
        ids = [row.id for row in keys.list_of_owner(session, "eve")]
        assert (len(ids), len(keys.list_revoked(session, ids))) == (4, 1)
    assert service.get("/v1/jobs", headers=newest).status_code == 200


def test_expired_keys_do_not_count_toward_the_quota(service, database):
    mine = make_key(database, "eve")
    limit_keys(database, "eve", 2)
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    first = service.post("/v1/keys", json={"expires_at": soon}, headers=bearer(mine)).json()
    assert_problem(service.post("/v1/keys", headers=bearer(mine)), 429, "quota_exceeded")
    with database.write() as session:
        session.get_one(KeyRow, first["id"]).expires_at = datetime.now(UTC) - timedelta(seconds=1)
    assert service.post("/v1/keys", headers=bearer(mine)).status_code == 201


def test_a_key_revoked_during_an_upload_changes_nothing(service, key, database):
    made = service.post("/v1/keys", headers=bearer(key)).json()
    dataset = service.post("/v1/datasets", json={"name": "pets"}, headers=bearer(made["key"])).json()["id"]
    with httpx2.Client(base_url=service.base_url, headers=bearer(made["key"])) as theirs:

        def content(whole: bytes):
            yield whole[:1]
            assert service.delete(f"/v1/keys/{made['id']}", headers=bearer(key)).status_code == 204
            yield whole[1:]

        put = theirs.put(f"/v1/datasets/{dataset}/content", content=content(b"content"))
        assert_problem(put, 401, "unauthenticated")
    assert service.get(f"/v1/datasets/{dataset}", headers=bearer(key)).json()["status"] == "uploading"
    entries = service.get("/v1/activity", params={"key": made["id"]}, headers=bearer(key)).json()["data"]
    assert [entry["action"] for entry in entries] == ["create_dataset"]


def test_revoking_can_include_everything_the_key_has_made(client, key):
    leaked = make_key_for(client, "read", "write", "admin")
    made = client.post("/v1/keys", headers=bearer(leaked["key"])).json()
    made_by_that = client.post("/v1/keys", headers=bearer(made["key"])).json()
    rolled = client.post(f"/v1/keys/{leaked['id']}/roll", headers=bearer(leaked["key"])).json()
    hook = {"url": "https://example.org/", "events": ["job.failed"]}
    theirs = client.post("/v1/webhooks", json=hook, headers=bearer(made["key"])).json()["id"]
    own = client.post("/v1/webhooks", json=hook).json()["id"]
    assert client.delete(f"/v1/keys/{leaked['id']}").status_code == 204
    assert client.get("/v1/jobs", headers=bearer(made["key"])).status_code == 200, "not requested"
    assert client.delete(f"/v1/keys/{leaked['id']}?with_made=true").status_code == 204
    for key in (leaked, made, made_by_that, rolled):
        assert_problem(client.get("/v1/jobs", headers=bearer(key["key"])), 401, "unauthenticated")
    assert client.get("/v1/jobs").status_code == 200
    enabled = {webhook["id"]: webhook["enabled"] for webhook in client.get("/v1/webhooks").json()["data"]}
    assert enabled == {theirs: False, own: True}


def test_the_time_of_last_use_is_shown(client, app, database):
    reader = make_key_for(client, "read")
    client.get("/v1/jobs", headers=bearer(reader["key"]))
    app.state.context.key_uses.write(database)  # like the reconciler
    unused = make_key_for(client, "read")
    used = {key["id"]: key["last_used_at"] for key in client.get("/v1/keys").json()["data"]}
    assert used[unused["id"]] is None
    assert datetime.now(UTC) - datetime.fromisoformat(used[reader["id"]]) < timedelta(minutes=1)
