"""Cancelling many jobs makes the same transition as for single jobs, in limited numbers and for one owner."""

import pytest
from sqlalchemy.event import listen

from api.routes.jobs import job as cancellations
from tests.api.support import assert_problem, sqlite_only, submit, with_field

# tests/models/store proves the SQL on both databases.
pytestmark = sqlite_only


def get_status(client, job: dict) -> str:
    return client.get(f"/v1/jobs/{job['id']}").json()["status"]


def test_cancelling_by_filter_affects_only_matching_unfinished_jobs(client, stranger, worker, spec):
    tagged = with_field(spec, "metadata", {"sweep": "7"})
    ended, running, asked, queued, paused = (
        submit(client, with_field(tagged, "priority", 9 - place)) for place in range(5)
    )
    other = submit(client, spec)
    worker.succeed(worker.claim())
    worker.claim(), worker.claim()
    of_stranger = submit(stranger, tagged)
    client.post(f"/v1/jobs/{asked['id']}/cancel")
    client.post(f"/v1/jobs/{paused['id']}/pause")
    answer = client.post("/v1/jobs/cancel?metadata[sweep]=7")
    assert answer.status_code == 202
    assert answer.json() == {"object": "cancellation", "cancelled": 2, "cancelling": 1, "has_more": False}
    assert [get_status(client, job) for job in (ended, running, asked, queued, paused, other)] == [
        *("succeeded", "cancelling", "cancelling", "cancelled", "cancelled", "queued")
    ]
    assert get_status(stranger, of_stranger) == "queued"
    types = [event["type"] for event in client.get(f"/v1/jobs/{queued['id']}/events").json()["data"]]
    assert types == ["job.queued", "job.cancelled"]
    again = client.post("/v1/jobs/cancel?metadata[sweep]=7").json()
    assert (again["cancelled"], again["cancelling"]) == (0, 0)


def test_one_request_cancels_a_limited_number_of_jobs_oldest_first(client, spec, monkeypatch):
    monkeypatch.setattr(cancellations, "MAX_CANCELLED_AT_ONCE", 2)
    made = [submit(client, spec) for _ in range(3)]
    answers = [client.post("/v1/jobs/cancel?status=queued&dataset=mnist5k").json() for _ in range(2)]
    assert [(answer["cancelled"], answer["has_more"]) for answer in answers] == [(2, True), (1, False)]
    assert {get_status(client, job) for job in made} == {"cancelled"}


@pytest.mark.parametrize("named", [False, True], ids=["by filter", "by id"])
def test_jobs_of_a_request_are_cancelled_in_several_transactions(client, app, spec, monkeypatch, named):
    monkeypatch.setattr(cancellations, "JOBS_AT_ONCE", 2)
    made = [submit(client, spec) for _ in range(5)]
    commits = []
    listen(app.state.context.database._writer, "commit", commits.append)
    asked = {"json": {"ids": [job["id"] for job in made]}} if named else {"params": {"status": "queued"}}
    assert client.post("/v1/jobs/cancel", **asked).json()["cancelled"] == 5
    assert len(commits) >= 3  # two jobs, two jobs and one
    assert {get_status(client, job) for job in made} == {"cancelled"}
    entries = client.get("/v1/activity").json()["data"]
    subjects = {entry["subject"] for entry in entries if entry["action"] == "cancel_jobs"}
    assert subjects == ({job["id"] for job in made} if named else {"status=queued"})


def test_filters_without_a_match_cancel_nothing(client, spec):
    job = submit(client, spec)
    for query in ("status=succeeded", "dataset=nobody", "status=running&metadata[a]=b"):
        assert client.post(f"/v1/jobs/cancel?{query}").json()["cancelled"] == 0
    assert get_status(client, job) == "queued"


def test_without_a_filter_nothing_is_cancelled(client, spec):
    job = submit(client, spec)
    for query in ["", "limit=5", "status=done", "status=", "everything=true", "metadata[]=x"]:
        problem = assert_problem(client.post(f"/v1/jobs/cancel?{query}"), 400, "invalid_parameter")
        assert "status" in problem["detail"] or "metadata" in problem["detail"]
        assert get_status(client, job) == "queued"


def test_jobs_are_cancelled_by_id_with_a_result_for_each(client, stranger, worker, spec):
    ended, running, queued = (submit(client, with_field(spec, "priority", 9 - place)) for place in range(3))
    left = submit(client, spec)
    worker.succeed(worker.claim())
    worker.claim()
    of_stranger = submit(stranger, spec)
    named = [job["id"] for job in (queued, ended, running, of_stranger, queued)]
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
            {"id": of_stranger["id"], "status": None, "code": "job_not_found"},
        ],
    }
    assert [get_status(client, job) for job in (ended, running, queued, left)] == [
        *("succeeded", "cancelling", "cancelled", "queued")
    ]
    assert get_status(stranger, of_stranger) == "queued"


def test_ids_and_filters_cannot_be_combined_and_ids_are_limited(client, spec):
    job = submit(client, spec)
    asked = {"ids": [job["id"]]}
    assert_problem(client.post("/v1/jobs/cancel?status=queued", json=asked), 400, "invalid_parameter")
    assert_problem(client.post("/v1/jobs/cancel", json={"ids": []}), 400, "invalid_parameter")
    assert_problem(client.post("/v1/jobs/cancel", json={"ids": ["x"] * 201}), 422, "invalid_spec", "/ids")
    assert get_status(client, job) == "queued"
