"""Cancelling by filter: the same transition as for single jobs, bounded, and never for others' jobs."""

import pytest

from api.routes.jobs import job as cancellations
from tests.api.support import assert_problem, sqlite_only, submitted, with_field

# Their SQL is proven on both databases by tests/models/store.
pytestmark = sqlite_only


def status_of(client, job: dict) -> str:
    return client.get(f"/v1/jobs/{job['id']}").json()["status"]


def test_waiting_jobs_are_cancelled_running_ones_asked_and_the_others_left(client, stranger, worker, spec):
    tagged = with_field(spec, "metadata", {"sweep": "7"})
    ended, running, asked, queued, paused = (
        submitted(client, with_field(tagged, "priority", 9 - place)) for place in range(5)
    )
    other = submitted(client, spec)
    worker.succeed(worker.claim())
    worker.claim(), worker.claim()
    foreign = submitted(stranger, tagged)
    client.post(f"/v1/jobs/{asked['id']}/cancel")
    client.post(f"/v1/jobs/{paused['id']}/pause")
    answer = client.post("/v1/jobs/cancel?metadata[sweep]=7")
    assert answer.status_code == 202
    assert answer.json() == {"object": "cancellation", "cancelled": 2, "cancelling": 1, "has_more": False}
    assert [status_of(client, job) for job in (ended, running, asked, queued, paused, other)] == [
        *("succeeded", "cancelling", "cancelling", "cancelled", "cancelled", "queued")
    ]
    assert status_of(stranger, foreign) == "queued"
    types = [one["type"] for one in client.get(f"/v1/jobs/{queued['id']}/events").json()["data"]]
    assert types == ["job.queued", "job.cancelled"]
    again = client.post("/v1/jobs/cancel?metadata[sweep]=7").json()
    assert (again["cancelled"], again["cancelling"]) == (0, 0)


def test_one_request_reaches_so_many_jobs_oldest_first(client, spec, monkeypatch):
    monkeypatch.setattr(cancellations, "MAX_CANCELLED_AT_ONCE", 2)
    made = [submitted(client, spec) for _ in range(3)]
    answers = [client.post("/v1/jobs/cancel?status=queued&dataset=mnist5k").json() for _ in range(2)]
    assert [(answer["cancelled"], answer["has_more"]) for answer in answers] == [(2, True), (1, False)]
    assert {status_of(client, job) for job in made} == {"cancelled"}


def test_filters_that_name_no_job_cancel_none(client, spec):
    job = submitted(client, spec)
    for query in ("status=succeeded", "dataset=nobody", "status=running&metadata[a]=b"):
        assert client.post(f"/v1/jobs/cancel?{query}").json()["cancelled"] == 0
    assert status_of(client, job) == "queued"


@pytest.mark.parametrize("query", ["", "limit=5", "status=done", "status=", "everything=true", "metadata[]=x"])
def test_without_a_filter_nothing_is_cancelled(client, spec, query):
    job = submitted(client, spec)
    problem = assert_problem(client.post(f"/v1/jobs/cancel?{query}"), 400, "invalid_parameter")
    assert "status" in problem["detail"] or "metadata" in problem["detail"]
    assert status_of(client, job) == "queued"


def test_jobs_are_cancelled_by_name_and_each_is_answered(client, stranger, worker, spec):
    ended, running, queued = (submitted(client, with_field(spec, "priority", 9 - place)) for place in range(3))
    left = submitted(client, spec)
    worker.succeed(worker.claim())
    worker.claim()
    foreign = submitted(stranger, spec)
    named = [one["id"] for one in (queued, ended, running, foreign, queued)]
    answer = client.post("/v1/jobs/cancel", json={"ids": named})
    assert answer.status_code == 202
    assert answer.json() == {
        "object": "cancellation",
        "cancelled": 1,
        "cancelling": 1,
        "has_more": False,
        "jobs": [
            {"id": queued["id"], "status": "cancelled", "code": None},
            {"id": ended["id"], "status": None, "code": "job_finished"},
            {"id": running["id"], "status": "cancelling", "code": None},
            {"id": foreign["id"], "status": None, "code": "job_not_found"},
        ],
    }
    assert [status_of(client, job) for job in (ended, running, queued, left)] == [
        *("succeeded", "cancelling", "cancelled", "queued")
    ]
    assert status_of(stranger, foreign) == "queued"


def test_names_and_filters_are_not_mixed_and_names_are_bounded(client, spec):
    job = submitted(client, spec)
    asked = {"ids": [job["id"]]}
    assert_problem(client.post("/v1/jobs/cancel?status=queued", json=asked), 400, "invalid_parameter")
    assert_problem(client.post("/v1/jobs/cancel", json={"ids": []}), 400, "invalid_parameter")
    assert_problem(client.post("/v1/jobs/cancel", json={"ids": ["x"] * 201}), 422, "invalid_spec", "/ids")
    assert status_of(client, job) == "queued"
