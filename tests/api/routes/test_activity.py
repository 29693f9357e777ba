"""The activity log records every change with key, action and address, and cannot be changed."""

import inspect

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from api.http.deps import _write
from api.http.routing import ResourceRoute
from heldout.access.rights import SAFE_METHODS
from models.store import activity
from models.tables import ActivityRow
from tests.api.support import assert_problem, bearer, sqlite_only, submit


def list_entries(client, **params) -> list[tuple[str, str | None]]:
    answer = client.get("/v1/activity", params=params)
    assert answer.status_code == 200, answer.text
    return [(entry["action"], entry["subject"]) for entry in answer.json()["data"]]


def test_each_change_is_logged_with_key_action_and_address(client, stranger, key, spec):
    job = submit(client, spec, **{"X-Request-ID": "of-mine"})["id"]
    client.post(f"/v1/jobs/{job}/cancel")
    made = client.post("/v1/keys").json()
    client.put(f"/v1/datasets/{client.post('/v1/datasets', json={'name': 'pets'}).json()['id']}/content", content=b"x")
    client.delete(f"/v1/keys/{made['id']}")
    assert [action for action, _ in list_entries(client)] == [
        *("revoke_key", "put_content", "create_dataset", "make_key", "cancel_job", "submit_job")
    ]
    assert list_entries(client, subject=job) == [("cancel_job", job), ("submit_job", job)]
    assert list_entries(client, action="revoke_key") == [("revoke_key", made["id"])]
    first = client.get("/v1/activity", params={"action": "submit_job"}).json()["data"][0]
    assert (first["key_id"], first["address"], first["request_id"]) == (key.split("_")[1], "testclient", "of-mine")
    assert list_entries(stranger) == [], "other owners' actions are not listed"


@sqlite_only
def test_requests_that_change_nothing_are_not_logged(client, spec):
    named = {"Idempotency-Key": "once"}
    submit(client, spec, **named)
    before = list_entries(client)
    assert len(before) == 1
    submit(client, spec, **named)  # a repeated request
    client.post("/v1/jobs?dry_run=true", json=spec)
    client.post("/v1/jobs", json={"dataset": "none"})
    client.post("/v1/diagnoses", json={"history": {"loss": [1.0, 0.5], "val_loss": [1.0, 0.7]}})
    assert_problem(client.delete("/v1/jobs/job_00000000000000000000000000"), 404, "job_not_found")
    client.get("/v1/jobs")
    assert list_entries(client) == before


@sqlite_only
def test_cancelling_a_study_is_logged(client, spec):
    study = client.post(
        "/v1/studies", json={"spec": spec, "remedies": ["dropout"], "splits": "fixed", "seeds": 2}
    ).json()["id"]
    client.post(f"/v1/studies/{study}/cancel")
    assert list_entries(client) == [("cancel_study", study), ("order_study", study)]
    assert_problem(client.post(f"/v1/studies/{study}/cancel"), 409, "study_finished")
    assert len(list_entries(client)) == 2


def test_cancelling_many_jobs_logs_which(client, spec):
    first, second, third = [submit(client, spec)["id"] for _ in range(3)]
    unknown = "job_00000000000000000000000000"
    client.post("/v1/jobs/cancel", json={"ids": [first, unknown, second]})
    client.post("/v1/jobs/cancel?status=queued&metadata[a%20b]=c")
    assert list_entries(client, action="cancel_jobs") == [
        *[("cancel_jobs", "status=queued&metadata[a b]=c"), ("cancel_jobs", second), ("cancel_jobs", first)]
    ]
    client.post("/v1/jobs/cancel?status=queued")
    assert third not in str(list_entries(client, action="cancel_jobs"))


@sqlite_only
def test_logging_in_and_out_is_logged_whatever_the_keys_scopes(client, app):
    writer = client.post("/v1/keys", json={"scopes": ["write"]}).json()
    browser = TestClient(app, headers={"Origin": "http://testserver", "X-Request-ID": "of-browser"})
    assert browser.post("/v1/session", json={"key": writer["key"]}).status_code == 201
    assert browser.get("/v1/session").json()["key_id"] == writer["id"]
    assert browser.delete("/v1/session").status_code == 204
    assert_problem(browser.get("/v1/session"), 401, "unauthenticated")
    entries = client.get("/v1/activity", params={"key": writer["id"]}).json()["data"]
    assert [(entry["action"], entry["request_id"]) for entry in entries] == [
        *[("log_out", "of-browser"), ("log_in", "of-browser")]
    ]


@sqlite_only
def test_every_changing_route_logs_in_the_transaction_of_the_change(app):
    """The request's session logs changes. A route that opens its own session must do so itself."""
    changing = {
        route.name: route
        for included in app.routes
        for route in getattr(included, "original_router", app).routes
        if isinstance(route, ResourceRoute) and route.methods - SAFE_METHODS and route.scope != "read"
    }
    assert {"submit_job", "cancel_study", "put_content", "log_out"} < set(changing)
    for name, route in changing.items():
        is_logged_by_request = _write in {dependency.call for dependency in route.dependant.dependencies}
        is_logged_by_route = "note_change" in inspect.getsource(inspect.getmodule(inspect.unwrap(route.endpoint)))
        assert is_logged_by_request or is_logged_by_route, name


@sqlite_only
def test_the_log_is_listed_in_pages_for_admins_only(client, spec):
    jobs = [submit(client, spec)["id"] for _ in range(3)]
    first = client.get("/v1/activity?limit=2").json()
    rest = client.get("/v1/activity", params={"limit": 2, "after": first["next"]}).json()
    assert [entry["subject"] for entry in [*first["data"], *rest["data"]]] == jobs[::-1]
    assert (first["has_more"], rest["has_more"], rest["next"]) == (True, False, None)
    reader = client.post("/v1/keys", json={"scopes": ["read", "write"]}).json()["key"]
    assert_problem(client.get("/v1/activity", headers=bearer(reader)), 403, "insufficient_scope")


def test_entries_cannot_change_and_only_old_ones_are_deleted(database):
    with database.write() as session:
        activity.add(session, "ada", "keys create", subject="k1")
    for statement in (update(ActivityRow).values(owner="eve"), delete(ActivityRow)):
        with pytest.raises(DBAPIError, match="append-only"), database.write() as session:
            session.execute(statement.execution_options(synchronize_session=False))
    with database.write() as session:
        old = "'2020-01-01T00:00:00.000Z'"
        session.execute(
            text(f"INSERT INTO audit_log (id, owner, action, created_at) VALUES ('aud_old', 'ada', 'x', {old})")
        )
        activity.forget_old(session, 86_400)
        assert [row.subject for row in activity.list_page(session, "ada", after=None, limit=9)[0]] == ["k1"]
