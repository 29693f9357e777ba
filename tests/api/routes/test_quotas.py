"""Quotas and rates limit an owner, and its usage is reported."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import update

from api.app import create_app
from heldout.access.rights import Quota
from models.database import db_now
from models.store import keys, owners
from models.tables import JobRow
from tests.api.support import bearer, run_server, sqlite_only, submit

PROBLEM = "application/problem+json"


def set_limits(worker, owner="ada", **bounds):
    with worker.database.write() as session:
        owners.limit(session, owner, changes={Quota(name): value for name, value in bounds.items()})


def assert_refused(answer, quota, used, allowed):
    assert answer.headers["content-type"] == PROBLEM
    body = answer.json()
    assert (answer.status_code, body["code"]) == (429, "quota_exceeded")
    assert f"`{quota}`" in body["detail"]
    assert f"{used:,} used, {allowed:,} allowed" in body["detail"]


def test_the_limit_on_queued_jobs_applies_per_owner(client, stranger, worker, spec):
    set_limits(worker, queued_jobs=1)
    first = submit(client, spec)
    assert_refused(client.post("/v1/jobs", json=spec), "queued_jobs", 1, 1)
    assert_refused(client.post("/v1/studies", json={"spec": spec}), "queued_jobs", 1, 1)
    assert client.post("/v1/jobs?dry_run=true", json=spec).status_code == 200
    assert stranger.post("/v1/jobs", json=spec).status_code == 201
    client.post(f"/v1/jobs/{first['id']}/pause")
    second = client.post("/v1/jobs", json=spec)
    assert second.status_code == 201, "a paused job does not count as queued"
    assert_refused(client.post(f"/v1/jobs/{first['id']}/resume"), "queued_jobs", 2, 1)
    assert client.get(f"/v1/jobs/{first['id']}").json()["status"] == "paused"
    client.post(f"/v1/jobs/{second.json()['id']}/cancel")
    assert client.post(f"/v1/jobs/{first['id']}/resume").status_code == 200


@sqlite_only
def test_a_study_needs_quota_for_all_its_first_trainings(client, worker, spec):
    set_limits(worker, queued_jobs=6)
    submit(client, spec)
    study = {"spec": spec, "remedies": ["dropout", "l2"], "splits": "fixed", "seeds": 2}
    answer = client.post("/v1/studies", json=study)
    assert_refused(answer, "queued_jobs", 1, 6)
    assert "needs 6 more" in answer.json()["detail"]
    assert client.get("/v1/studies").json()["data"] == []
    assert len(client.get("/v1/jobs").json()["data"]) == 1
    set_limits(worker, queued_jobs=7)
    assert client.post("/v1/studies", json=study).status_code == 201


@sqlite_only
def test_a_repeated_request_gets_its_first_response_even_without_quota(client, worker, spec):
    set_limits(worker, queued_jobs=1)
    first, second = (client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "one"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json()["id"] == first.json()["id"]


def test_datasets_keys_and_webhooks_have_quotas(client, worker):
    set_limits(worker, datasets=1, keys=2, webhooks=0)
    assert client.post("/v1/datasets", json={"name": "pets"}).status_code == 201
    assert_refused(client.post("/v1/datasets", json={"name": "pets"}), "datasets", 1, 1)
    assert client.post("/v1/keys").status_code == 201
    assert_refused(client.post("/v1/keys"), "keys", 2, 2)
    hook = {"url": "https://example.com/x", "events": ["job.succeeded"]}
    assert_refused(client.post("/v1/webhooks", json=hook), "webhooks", 0, 0)


def test_an_upload_without_quota_is_refused_before_it_is_received(client, worker):
    dataset = client.post("/v1/datasets", json={"name": "pets"}).json()["id"]
    set_limits(worker, stored_bytes=0)
    assert_refused(client.put(f"/v1/datasets/{dataset}/content", content=b"bytes"), "stored_bytes", 0, 0)
    assert client.get(f"/v1/datasets/{dataset}").json()["status"] == "uploading"


def test_slot_seconds_are_reported_and_limited_per_day(client, worker, spec):
    job = submit(client, spec)
    held = worker.claim()
    with worker.database.write() as session:
        session.execute(update(JobRow).values(attempt_started_at=db_now(-30)))
    worker.fail(held)
    key_id = client.headers["authorization"].split("_")[1]
    by_key, by_kind = ("?group_by=key", {"key_id": key_id}), ("?group_by=kind&bucket=day", {"kind": "train"})
    for query, group in (("", {}), by_key, by_kind):
        buckets = client.get(f"/v1/usage{query}").json()["data"]  # two if an hour has just begun
        for used in buckets:
            assert {name: used[name] for name in ("key_id", "kind")} == {"key_id": None, "kind": None, **group}
        assert sum(used["jobs"] for used in buckets) == 1
        # A busy machine takes its time between the two statements.
        assert 30 <= sum(used["slot_seconds"] for used in buckets) < 90
    quotas = {quota["quota"]: quota for quota in client.get("/v1/usage").json()["quotas"]}
    assert set(quotas) == set(Quota)
    assert quotas["slot_seconds"]["allowed"] is None
    set_limits(worker, slot_seconds=20)
    answer = client.post("/v1/jobs", json=spec)
    assert_refused(answer, "slot_seconds", round(quotas["slot_seconds"]["used"]), 20)
    left_s = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0) - datetime.now(UTC)
    assert int(answer.headers["retry-after"]) == pytest.approx(left_s.total_seconds(), abs=30)
    assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "failed"


@sqlite_only
def test_invalid_usage_periods_are_refused(client):
    for query in [
        "from=2026-01-02&to=2026-01-01",
        "from=2020-01-01&to=2026-01-01",
        "bucket=day&from=2020-01-01&to=2026-01-01",
        "from=yesterday",
        "bucket=week",
        "group_by=owner",
        "from=9999-12-31T23:59:59-23:59&to=9999-12-31",
        "to=0001-01-01",
    ]:
        answer = client.get(f"/v1/usage?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


@sqlite_only
def test_a_suspended_owner_can_do_everything_but_create(client, worker, spec):
    job = submit(client, spec)
    with worker.database.write() as session:
        owners.suspend(session, "ada")
    for path, body in (("/v1/jobs", spec), ("/v1/studies", {"spec": spec}), ("/v1/datasets", {"name": "pets"})):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "owner_suspended")
    assert client.get("/v1/jobs").json()["data"][0]["id"] == job["id"]
    assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200


@sqlite_only
def test_a_key_above_its_rate_is_refused_with_a_retry_after(settings, stored_sets, database, key):
    stored_sets[1](database)
    app = create_app(settings.model_copy(update={"rate": "4/hour;100/day"}))
    with database.write() as session:
        other = keys.make(session, "ada")
    with TestClient(app, headers=bearer(key)) as client:
        answers = [client.get("/v1/jobs" if number % 2 else "/v1/jobs/job_x") for number in range(5)]
        assert [answer.status_code for answer in answers] == [404, 200, 404, 200, 429]
        assert [answer.headers["ratelimit"].split(";t=")[0] for answer in answers] == [
            *(f'"hour";r={left}' for left in (3, 2, 1, 0)),
            '"hour";r=0',
        ]
        assert answers[0].headers["ratelimit-policy"] == '"hour";q=4;w=3600, "day";q=100;w=86400'
        assert answers[4].json()["code"] == "too_many_requests"
        assert 0 < int(answers[4].headers["retry-after"]) <= 3600
        assert client.get("/livez").status_code == 200, "probes have no key and are not counted"
        assert client.get("/v1/jobs", headers=bearer(other)).status_code == 200, "each key has its own rate"


@sqlite_only
def test_invalid_keys_are_not_rate_limited_and_take_no_memory(client, app):
    storage = app.state.context.rates._storage
    for path in ("/v1/jobs", "/v1/jobs/job_00000000000000000000000000", "/v1/jobs/job_x"):
        answers = [client.get(path, headers=bearer(f"ho_0123456789ab_{number}")) for number in range(5)]
        assert [answer.status_code for answer in answers] == [401] * 5
        assert not any("ratelimit" in answer.headers for answer in answers)
    assert not storage.storage
    assert "ratelimit" in client.get("/v1/jobs/job_00000000000000000000000000").headers
    assert len(storage.storage) == 1


@sqlite_only
def test_processes_share_rates_through_the_broker_and_allow_requests_without_it(settings, database, key, redis_url):
    with_redis = settings.model_copy(update={"rate": "3/hour", "redis_url": SecretStr(redis_url)})
    apps = create_app(with_redis), create_app(with_redis)
    with TestClient(apps[0], headers=bearer(key)) as first, TestClient(apps[1], headers=bearer(key)) as other:
        asked = [client.get("/v1/keys").status_code for client in (first, other, first, other)]
    assert asked == [200, 200, 200, 429]
    nowhere = with_redis.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with TestClient(create_app(nowhere), headers=bearer(key)) as client:
        assert [client.get("/v1/keys").status_code for _ in range(5)] == [200] * 5


def test_only_open_streams_count_toward_the_quota(app, worker, key):
    set_limits(worker, streams=1)
    stream = {"Accept": "text/event-stream"}

    async def ask(url: str) -> list[int]:
        statuses = []
        async with httpx2.AsyncClient(base_url=url, headers={**bearer(key), **stream}, timeout=60) as client:
            async with client.stream("GET", "/v1/events") as first:
                refused_one = await client.get("/v1/events")
                statuses += [first.status_code, refused_one.status_code]
                assert refused_one.json()["code"] == "quota_exceeded"
            for _ in range(2000):
                async with client.stream("GET", "/v1/events") as again:
                    if again.status_code == 200:
                        return [*statuses, 200]
                await asyncio.sleep(0.02)  # until the server has noticed the end of the first stream
        return statuses

    with run_server(app) as (url, _):
        assert asyncio.run(ask(url)) == [200, 429, 200]
