"""Cancel, pause, resume, retry, change and delete jobs in each state."""

import pytest

from heldout.lifecycle.job import JobStatus
from models.blobs import BlobMissing
from models.store import jobs as stored_jobs
from models.tables import JobRow
from tests.api.support import ENGINE, assert_problem, sqlite_only, submit, with_field

# tests/models/store proves the SQL on both databases.
pytestmark = sqlite_only


class JobMaker:
    """Brings a new job to a state."""

    def __init__(self, client, worker, spec) -> None:
        self.client, self.worker, self.spec = client, worker, spec

    def __call__(self, state: str) -> str:
        job = submit(self.client, self.spec)["id"]
        if state in {"running", "cancelling", "pausing", "succeeded", "failed"}:
            held = self.worker.claim()
            self.worker.begin(held, self.client.get(f"/v1/jobs/{job}").json()["spec"])
            if state == "succeeded":
                self.worker.epoch(held, 1)
                self.worker.succeed(held)
            elif state == "failed":
                self.worker.fail(held)
        asked = {"cancelling": "cancel", "pausing": "pause", "paused": "pause", "cancelled": "cancel"}.get(state)
        if asked:
            self.client.post(f"/v1/jobs/{job}/{asked}")
        assert self.client.get(f"/v1/jobs/{job}").json()["status"] == state
        return job


@pytest.fixture
def job_in(client, worker, spec) -> JobMaker:
    return JobMaker(client, worker, spec)


FINISHED = ("succeeded", "failed", "cancelled")
# verb, state before, status code, state after or problem
TABLE = [
    ("cancel", "queued", 200, "cancelled"),
    ("cancel", "paused", 200, "cancelled"),
    ("cancel", "running", 202, "cancelling"),
    ("cancel", "cancelling", 202, "cancelling"),
    ("cancel", "pausing", 202, "cancelling"),
    *(("cancel", state, 409, "job_finished") for state in FINISHED),
    ("pause", "queued", 200, "paused"),
    ("pause", "paused", 200, "paused"),
    ("pause", "running", 202, "pausing"),
    ("pause", "pausing", 202, "pausing"),
    ("pause", "cancelling", 202, "cancelling"),
    *(("pause", state, 409, "job_finished") for state in FINISHED),
    ("resume", "paused", 200, "queued"),
    *(("resume", state, 409, "not_paused") for state in ("queued", "running", "pausing", "cancelling", *FINISHED)),
]


@pytest.mark.parametrize(("verb", "state", "status", "then"), TABLE)
def test_the_effect_of_a_request_depends_on_the_jobs_state(client, job_in, verb, state, status, then):
    job = job_in(state)
    before = client.get(f"/v1/jobs/{job}").json()
    answer = client.post(f"/v1/jobs/{job}/{verb}")
    after = client.get(f"/v1/jobs/{job}").json()
    if status == 409:
        assert_problem(answer, 409, then)
        assert after == before
    else:
        assert (answer.status_code, answer.json()["status"]) == (status, then)
        assert answer.json() == after
        assert answer.headers["etag"] == f'"{after["version"]}"'
        assert (after["version"] > before["version"]) == (then != state)


def test_a_cancelled_job_says_why_it_stopped(client, job_in):
    job = client.get(f"/v1/jobs/{job_in('cancelled')}").json()
    assert (job["stop_reason"], job["finished_at"] is not None) == ("cancelled", True)


def test_a_worker_carries_out_what_was_asked(client, worker, spec):
    job = submit(client, spec)["id"]
    held = worker.claim()
    client.post(f"/v1/jobs/{job}/pause")
    assert worker.stop_as_requested(held) is JobStatus.PAUSED
    assert client.get(f"/v1/jobs/{job}").json()["status"] == "paused"
    assert client.post(f"/v1/jobs/{job}/resume").json()["status"] == "queued"
    assert worker.claim().attempt == 2


# --- retry ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", FINISHED)
def test_a_retry_is_a_new_job_with_the_same_spec(client, job_in, state):
    ended = client.get(f"/v1/jobs/{job_in(state)}").json()
    answer = client.post(f"/v1/jobs/{ended['id']}/retry")
    job = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["retry_of"] == ended["id"]
    assert job["id"] != ended["id"]
    assert (job["status"], job["attempt"], job["engine"]) == ("queued", 0, None)
    assert [job[same] for same in ("spec", "name", "dataset", "parameters")] == [
        ended[same] for same in ("spec", "name", "dataset", "parameters")
    ]
    assert client.get(f"/v1/jobs/{ended['id']}").json() == ended


@pytest.mark.parametrize("state", ["queued", "running", "cancelling", "pausing", "paused"])
def test_unfinished_jobs_are_neither_retried_nor_deleted(client, job_in, state):
    job = job_in(state)
    assert_problem(client.post(f"/v1/jobs/{job}/retry"), 409, "job_not_finished")
    assert_problem(client.delete(f"/v1/jobs/{job}"), 409, "job_not_finished")
    assert [(kept["id"], kept["status"]) for kept in client.get("/v1/jobs").json()["data"]] == [(job, state)]


def test_a_repeated_retry_with_a_key_makes_one_job(client, job_in):
    job = job_in("failed")
    first = client.post(f"/v1/jobs/{job}/retry", headers={"Idempotency-Key": "again"})
    second = client.post(f"/v1/jobs/{job}/retry", headers={"Idempotency-Key": "again"})
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len(client.get("/v1/jobs").json()["data"]) == 2


# --- delete ---------------------------------------------------------------------------------------


def test_deleting_a_job_removes_its_files_and_no_others(client, worker, job_in):
    kept, deleted = job_in("succeeded"), job_in("succeeded")
    assert worker.blobs.size(f"jobs/{deleted}/1/model.keras")
    answer = client.delete(f"/v1/jobs/{deleted}")
    assert (answer.status_code, answer.content) == (204, b"")
    for route in ("", "/metrics", "/events", "/queue", "/model"):
        assert_problem(client.get(f"/v1/jobs/{deleted}{route}"), 404, "job_not_found")
    assert_problem(client.delete(f"/v1/jobs/{deleted}"), 404, "job_not_found")
    with pytest.raises(BlobMissing):
        worker.blobs.size(f"jobs/{deleted}/1/model.keras")
    assert client.get(f"/v1/jobs/{kept}/model").status_code == 200


def test_files_stay_when_the_deletion_is_not_committed(client, app, worker, job_in, monkeypatch):
    job = job_in("succeeded")

    def breaks(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(stored_jobs, "remove", breaks)
    assert client.delete(f"/v1/jobs/{job}").status_code == 500
    assert worker.blobs.size(f"jobs/{job}/1/model.keras")


# --- change ---------------------------------------------------------------------------------------


def test_changes_to_a_queued_job_reach_its_row_and_its_spec(client, worker, spec):
    first = submit(client, spec)
    second = submit(client, with_field(spec, "metadata", {"a": "1", "c": "3"}))
    changes = {"priority": 5, "metadata": {"a": None, "b": "2", "d": None}, "name": "urgent"}
    answer = client.patch(f"/v1/jobs/{second['id']}", json=changes)
    job = answer.json()
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    assert job["name"] == job["spec"]["name"] == "urgent"
    assert job["spec"]["priority"] == 5
    assert job["spec"]["metadata"] == {"b": "2", "c": "3"}
    assert job["spec"]["training"] == second["spec"]["training"]
    assert client.get("/v1/jobs?metadata[b]=2").json()["data"] == [job]
    assert client.get("/v1/jobs?metadata[a]=1").json()["data"] == []
    assert worker.claim().job_id == second["id"], "the priority decides the order"
    assert client.get(f"/v1/jobs/{first['id']}").json() == first


@pytest.mark.parametrize("state", ["running", "paused", "succeeded", "cancelled"])
def test_name_and_metadata_can_change_at_any_time_but_priority_cannot(client, job_in, state):
    job = job_in(state)
    before = client.get(f"/v1/jobs/{job}").json()
    refused = client.patch(f"/v1/jobs/{job}", json={"priority": 1, "name": "new"})
    assert_problem(refused, 409, "job_not_queued")
    assert client.get(f"/v1/jobs/{job}").json() == before
    changed = client.patch(f"/v1/jobs/{job}", json={"name": "new", "metadata": {"note": "kept"}}).json()
    assert (changed["name"], changed["status"]) == ("new", before["status"])
    assert changed["spec"] == before["spec"] | {"name": "new", "metadata": {"note": "kept"}}
    assert changed["version"] == before["version"] + 1
    assert client.get(f"/v1/jobs/{job}").json() == changed


def test_metadata_is_limited_to_16_pairs(client, spec):
    job = submit(client, with_field(spec, "metadata", {str(number): "x" for number in range(16)}))
    path = f"/v1/jobs/{job['id']}"
    assert_problem(client.patch(path, json={"metadata": {"new": "x"}}), 422, "invalid_spec", "/metadata")
    assert client.get(path).json() == job
    changed = client.patch(path, json={"metadata": {"new": "x", "0": None}}).json()
    assert len(changed["spec"]["metadata"]) == 16


def test_a_job_that_changed_meanwhile_is_not_overwritten(client, spec):
    job = submit(client, spec)
    path, old = f"/v1/jobs/{job['id']}", '"1"'
    newer = client.patch(path, json={"name": "a"}, headers={"If-Match": old})
    assert newer.headers["etag"] == '"2"'
    for stale in (old, 'W/"2"', '"1", "3"', '"22"', '""'):
        refused = client.patch(path, json={"name": "b"}, headers={"If-Match": stale})
        problem = assert_problem(refused, 412, "changed_meanwhile")
        assert refused.headers["etag"] == '"2"'
        assert stale in problem["detail"]
    for unreadable in ("2", "", '"2', '"1" "2"', "*, *"):
        refused = client.patch(path, json={"name": "b"}, headers={"If-Match": unreadable})
        assert "If-Match" in assert_problem(refused, 400, "invalid_parameter")["detail"]
    assert client.get(path).json() == newer.json()
    for number, current in enumerate(('"2"', "*", '"1" , "4",', 'W/"1","5"'), start=3):
        answer = client.patch(path, json={"name": str(number)}, headers={"If-Match": current})
        assert (answer.status_code, answer.json()["version"]) == (200, number)
    gone = client.patch("/v1/jobs/job_" + "0" * 26, json={}, headers={"If-Match": old})
    assert_problem(gone, 404, "job_not_found")


def test_only_three_fields_can_change_and_only_within_their_bounds(client, spec):
    job = submit(client, spec)
    for changes, pointer in [
        ({"priority": 101}, "/priority"),
        ({"priority": None}, "/priority"),
        ({"priority": 1.5}, "/priority"),
        ({"name": ""}, "/name"),
        ({"name": "\0"}, "/name"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"metadata": None}, "/metadata"),
        ({"status": "cancelled"}, "/status"),
        ({"training": {"epochs": 1}}, "/training"),
        ([], ""),
    ]:
        assert_problem(client.patch(f"/v1/jobs/{job['id']}", json=changes), 422, "invalid_spec", pointer)
        assert client.get(f"/v1/jobs/{job['id']}").json() == job


def test_an_empty_change_makes_no_new_version(client, spec):
    job = submit(client, spec)
    assert client.patch(f"/v1/jobs/{job['id']}", json={}).json() == job


def test_the_engine_of_a_running_job_is_shown(client, job_in):
    assert client.get(f"/v1/jobs/{job_in('running')}").json()["engine"] == {**ENGINE, "features": None}


def test_engine_facts_of_another_release_are_shown_too(client, worker, database, spec):
    job = submit(client, spec)["id"]
    worker.begin(worker.claim(), spec)
    with database.write() as session:
        session.get_one(JobRow, job).engine = {"device": "gpu", "driver": {"cuda": "13"}}
    engine = client.get(f"/v1/jobs/{job}").json()["engine"]
    assert (engine["device"], engine["driver"], engine["precision"]) == ("gpu", {"cuda": "13"}, None)
