"""A job whose stored spec comes from another release is named and does not break others."""

import pytest
from sqlalchemy import update

from models.tables import JobRow
from tests.api.support import assert_problem, sqlite_only, submit

# tests/models/store proves the SQL on both databases.
pytestmark = sqlite_only


@pytest.fixture
def broken(client, spec, database) -> str:
    """Return a queued job of `ada`, between two others, with a field unknown to this release."""
    older, job_id, newer = (submit(client, {**spec, "name": name})["id"] for name in ("older", "broken", "newer"))
    with database.write() as session:
        stored = session.get_one(JobRow, job_id).spec
        session.execute(update(JobRow).where(JobRow.id == job_id).values(spec={**stored, "of_a_later_release": True}))
    assert older < job_id < newer
    return job_id


def test_a_job_with_an_unreadable_spec_names_the_unknown_field(client, broken):
    problem = assert_problem(client.get(f"/v1/jobs/{broken}"), 503, "spec_unreadable")
    assert broken in problem["detail"]
    assert "/of_a_later_release" in problem["detail"]


def test_a_list_names_the_unreadable_job_and_can_continue_after_it(client, broken):
    problem = assert_problem(client.get("/v1/jobs"), 503, "spec_unreadable")
    assert broken in problem["detail"]
    assert [job["name"] for job in client.get("/v1/jobs", params={"after": broken}).json()["data"]] == ["older"]
    assert [job["name"] for job in client.get("/v1/jobs", params={"limit": 1}).json()["data"]] == ["newer"]


def test_other_owners_are_not_affected(stranger, broken):
    assert stranger.get("/v1/jobs").json()["data"] == []
    assert_problem(stranger.get(f"/v1/jobs/{broken}"), 404, "job_not_found")


def test_a_webhook_for_an_unreadable_job_does_not_block_later_jobs(client, broken, worker, database, app):
    wanted = {"url": "https://example.com/hook", "events": ["job.started", "job.failed"]}
    assert client.post("/v1/webhooks", json=wanted).status_code == 201
    claimed = [worker.claim().job_id for _ in range(2)]
    assert broken not in claimed
    with database.read() as session:
        row = session.get_one(JobRow, broken)
        assert (row.status, row.error["code"]) == ("failed", "spec_unreadable")
