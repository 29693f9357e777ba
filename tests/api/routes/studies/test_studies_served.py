"""Studies over HTTP are created once, awaited, listed, cancelled and deleted, by their owner only."""

import hashlib
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx2
import numpy as np
import pytest
from sqlalchemy import select

from analysis.arrays.columns import make_columns_key
from heldout.work.kinds import EvaluateSpec
from models import waiting_studies
from models.digests import FileDigest
from models.secret_box import SecretBox
from models.store import claims, exports, file_digests, new_jobs, studies, webhooks
from models.store.new_jobs import NewJob
from models.tables import DatasetRow, StudyRow
from tests.analysis.reports.made_studies import cure
from tests.api.routes.exported import FILE, store_export
from tests.api.support import assert_problem, bearer, make_key, run_server, sqlite_only, submit, wait_until, with_field

NO_STUDY = "std_01jd0000000000000000000000"


@pytest.fixture
def asked(spec) -> dict:
    """Return a request for two remedies and the base with two seeds each."""
    return {"spec": spec, "remedies": ["dropout", "l2"], "splits": "fixed", "seeds": 2}


def order(client, body: dict, **headers: str) -> dict:
    answer = client.post("/v1/studies", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/studies/{answer.json()['id']}"
    return answer.json()


def test_a_study_is_created_once_and_visible_only_to_its_owner(client, stranger, asked):
    study = order(client, asked, **{"Idempotency-Key": "once"})
    assert [arm["name"] for arm in study["arms"]] == ["base", "dropout", "l2"]
    assert study["spec"]["evaluation"]["test"] == "never"
    assert (study["splits"], study["spec"]["dataset"], study["spec"]["priority"]) == ("fixed", "mnist5k@1", -1)
    again = client.post("/v1/studies", json=asked, headers={"Idempotency-Key": "once"})
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (study["id"], "true")
    second = order(client, asked)
    page = client.get("/v1/studies?limit=1").json()
    assert ([listed["id"] for listed in page["data"]], page["next"]) == ([second["id"]], second["id"])
    assert [listed["id"] for listed in client.get(f"/v1/studies?after={page['next']}").json()["data"]] == [study["id"]]
    assert client.get("/v1/studies?status=failed").json()["data"] == []
    jobs = client.get(f"/v1/jobs?study={study['id']}").json()["data"]
    assert {job["study_id"] for job in jobs} == {study["id"]}
    assert sorted(job["id"] for job in jobs) == sorted(job for arm in study["arms"] for job in arm["jobs"])

    assert stranger.get("/v1/studies").json()["data"] == []
    assert stranger.get(f"/v1/jobs?study={study['id']}").json()["data"] == []
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")):
        answer = stranger.request(method, f"/v1/studies/{study['id']}{path}")
        assert_problem(answer, 404, "study_not_found")
    for unknown in (NO_STUDY, "std_x", study["arms"][0]["jobs"][0]):
        assert_problem(client.get(f"/v1/studies/{unknown}"), 404, "study_not_found")
    assert_problem(client.get("/v1/studies?after=job_01jd0000000000000000000000"), 400, "invalid_cursor")


@sqlite_only
def test_a_dry_run_counts_trainings_and_stores_nothing(client, asked):
    answer = client.post("/v1/studies?dry_run=true", json=asked)
    assert answer.status_code == 200, answer.text
    estimate = answer.json()
    assert (estimate["object"], estimate["jobs"], estimate["seconds"]) == ("study_estimate", 6, None)
    assert estimate["max_jobs"] > 6
    curve = {"kind": "learning_curve", "spec": asked["spec"], "splits": "fixed"}
    answer = client.post("/v1/studies?dry_run=true", json=curve)
    assert answer.status_code == 200, answer.text
    estimate = answer.json()
    assert (estimate["jobs"], estimate["max_jobs"], len(estimate["sizes"])) == (15, 15, 5)
    assert client.get("/v1/studies").json()["data"] == client.get("/v1/jobs").json()["data"] == []
    with_search = asked | {"remedies": ["retune"]}
    estimated = client.post("/v1/studies?dry_run=true", json=with_search).json()["jobs"]
    assert estimated == order(client, with_search)["progress"]["jobs"]


@sqlite_only
def test_invalid_studies_are_refused_by_pointer_and_store_nothing(client, asked):
    for changes, code, pointer in [
        (
            {"remedies": ["dropout", "l2", {"name": "none", "patch": {"network": {"dense": None, "blocks": []}}}]},
            "invalid_spec",
            "/remedies/2",
        ),
        (
            {"remedies": ["dropout", {"name": "deep", "patch": {"network": {"blocks": [{"filters": 1}] * 8}}}]},
            "network_too_deep",
            "/remedies/1",
        ),
        ({"remedies": ["dropout", "nothing_of_the_kind"]}, "invalid_spec", "/remedies/1"),
        (
            {"remedies": [{"name": "mine", "patch": {"training": {"seed": 3}}}]},
            "invalid_spec",
            "/remedies/0/patch/training/seed",
        ),
        ({"budget": {"jobs": 3}}, "invalid_spec", "/budget/jobs"),
        ({"kind": "learning_curve"}, "invalid_spec", "/remedies"),
        ({"kind": "learning_curve", "remedies": "auto", "objective": "loss"}, "invalid_spec", ""),
        ({"kind": "learning_curve", "remedies": "auto", "spec.training.train_limit": 99}, "invalid_spec", "/kind"),
        ({"spec": None}, "invalid_spec", ""),
        ({"seeds": 1}, "invalid_spec", "/seeds"),
        ({"spec.dataset": "nobody"}, "dataset_not_found", "/spec/dataset"),
        ({"spec.validation": {"use": "train"}}, "invalid_spec", "/spec/validation"),
    ]:
        body = asked
        for path, value in changes.items():
            body = with_field(body, path, value)
        for dry_run in ("", "?dry_run=true"):
            assert_problem(client.post(f"/v1/studies{dry_run}", json=body), 422, code, pointer)
        assert client.get("/v1/jobs").json()["data"] == []


def add_columns(client, worker, columns: dict[str, list]) -> None:
    """Give mnist5k columns, as an upload with a table has them."""
    key = make_columns_key(client.get("/v1/datasets/mnist5k").json()["id"])
    content = json.dumps(columns).encode()
    worker.blobs.put(key, content)
    with worker.database.write() as session:
        file_digests.note(session, {key: FileDigest(len(content), hashlib.sha256(content).hexdigest())})


@sqlite_only
def test_the_worst_group_needs_a_column_whose_groups_are_large_enough(client, worker, asked):
    by_group = {"objective": "worst_group", "group_column": "camera"}
    problem = assert_problem(
        client.post("/v1/jobs", json=asked["spec"] | by_group), 422, "invalid_spec", "/group_column"
    )
    assert "mnist5k@1 has no columns" in problem["detail"]
    read_rows = np.load(io.BytesIO(worker.blobs.read(f"datasets/{find_content(worker)}/splits.npz")))
    few, images = ["A"] * 5000, [*map(str, range(5000))]
    for row in read_rows["validation"][:2].tolist():
        few[row] = "B"
    halves = [["A", "B", None][row % 3] for row in range(5000)]
    columns = {"camera": halves, "lens": few, "one": ["A"] * 5000, "name": [f"p{name}" for name in images]}
    add_columns(client, worker, columns)
    for column, why in {
        "sensor": "Received 'sensor', but mnist5k@1 has the columns 'camera', 'lens', 'one', 'name'.",
        "lens": "Too few to say.",
        "one": "only images of one 'A', so no group can be the worst",
        "name": "5,000 different values; at most 50",
    }.items():
        for path, body in (
            ("jobs", asked["spec"] | by_group | {"group_column": column}),
            ("studies", asked | by_group | {"group_column": column}),
            ("studies?dry_run=true", asked | by_group | {"group_column": column}),
        ):
            problem = assert_problem(client.post(f"/v1/{path}", json=body), 422, "invalid_spec", "/group_column")
            assert why in problem["detail"]
    assert (
        "2 images of lens 'B'" in client.post("/v1/jobs", json=asked["spec"] | by_group | {"group_column": "lens"}).text
    )
    without = asked | {"objective": "worst_group"}
    assert_problem(client.post("/v1/studies", json=without), 422, "invalid_spec", "/group_column")
    frozen = asked | by_group | {"remedies": [{"name": "mine", "patch": {"group_column": "lens"}}]}
    where = "/remedies/0/patch/group_column"
    assert_problem(client.post("/v1/studies", json=frozen), 422, "invalid_spec", where)
    study = order(client, asked | by_group)
    assert (study["objective"], study["group_column"]) == ("worst_group", "camera")
    spec = client.get(f"/v1/jobs/{study['arms'][1]['jobs'][0]}").json()["spec"]
    assert (spec["objective"], spec["group_column"]) == ("worst_group", "camera")
    curve = order(client, {"kind": "learning_curve", "spec": asked["spec"] | by_group, "splits": "fixed"})
    assert (curve["objective"], curve["group_column"]) == ("worst_group", "camera")


def find_content(worker) -> str:
    with worker.database.read() as session:
        return session.scalars(select(DatasetRow.sha256).where(DatasetRow.name == "mnist5k")).one()


def test_a_study_of_a_job_takes_its_spec_and_outlives_it(client, worker, spec):
    job = client.post("/v1/jobs", json=spec).json()
    client.post(f"/v1/jobs/{job['id']}/cancel")
    body = {"job": job["id"], "remedies": ["dropout"], "splits": "fixed", "seeds": 2}
    study = order(client, body)
    assert (study["job"], study["spec"]["training"]["seed"]) == (job["id"], 7)
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert client.get(f"/v1/studies/{study['id']}").json()["job"] == job["id"]
    assert_problem(client.post("/v1/studies", json=body), 404, "job_not_found")
    [first, *_] = study["arms"][0]["jobs"]
    client.post(f"/v1/jobs/{first}/cancel")
    assert_problem(client.delete(f"/v1/jobs/{first}"), 409, "part_of_study")
    alone = client.post(f"/v1/jobs/{first}/retry").json()
    assert (alone["study_id"], alone["retry_of"]) == (None, first)


def test_a_study_can_be_awaited_and_is_cancelled_with_its_jobs(client, database, worker, asked):
    with database.write() as session:
        box = SecretBox(lambda: "a key of ours")
        webhooks.add(session, box, "ada", url="https://hooks.example/x", events=["study.finished"], enabled=True)
    study = order(client, asked)
    path = f"/v1/studies/{study['id']}"
    etag = client.get(path).headers["etag"]
    assert client.get(f"{path}?wait=0.1", headers={"If-None-Match": etag}).status_code == 304
    assert_problem(client.delete(path), 409, "study_not_finished")
    held = worker.claim()
    asked_to = client.post(f"{path}/cancel")
    assert (asked_to.status_code, asked_to.json()["status"]) == (202, "running")
    news = client.get(f"{path}?wait=10", headers={"If-None-Match": etag})
    assert news.status_code == 200
    worker.stop_as_requested(held)
    ended = client.get(f"{path}?wait=10").json()
    assert (ended["status"], ended["conclusion"]) == ("cancelled", None)
    assert_problem(client.post(f"{path}/cancel"), 409, "study_finished")
    events = client.get(f"{path}/events").json()["data"]
    assert [event["type"] for event in events] == ["study.started", "study.cancelling", "study.cancelled"]
    stream = client.get(f"{path}/events", headers={"Accept": "text/event-stream"}).text
    assert stream.count("event: study.") == 3
    assert stream.endswith(": the study has ended\n\n")
    mine = [
        event for event in client.get("/v1/events?limit=200").json()["data"] if event["subject"]["object"] == "study"
    ]
    assert [event["type"] for event in mine] == [event["type"] for event in events]
    hook = client.get("/v1/webhooks").json()["data"][0]["id"]
    [sent] = client.get(f"/v1/webhooks/{hook}/deliveries").json()["data"]
    assert (sent["type"], sent["subject"]) == ("study.finished", {"object": "study", "id": study["id"]})
    assert client.delete(path).status_code == 204
    assert client.get("/v1/jobs").json()["data"] == []


@sqlite_only
def test_initial_weights_keep_a_study_to_the_datasets_own_splits(client, worker, asked, spec):
    job = submit(client, spec)
    held = worker.claim()
    worker.begin(held, job["spec"])
    worker.epoch(held, 1)
    worker.succeed(held)
    initial = {"initial": {"job": job["id"]}}

    def estimated(**changes):
        return client.post("/v1/studies?dry_run=true", json={**asked, "splits": "auto", **changes})

    assert estimated().json()["splits"] == "resampled"  # it makes folds once copies are known
    assert estimated(spec={**spec, **initial}).json()["splits"] == "fixed"
    assert estimated(remedies=[{"name": "transfer", "patch": initial}]).json()["splits"] == "fixed"
    body = {**asked, "spec": {**spec, **initial}, "splits": "resampled"}
    problem = client.post("/v1/studies", json=body)
    assert_problem(problem, 422, "invalid_spec")
    assert problem.json()["errors"][0]["pointer"] == "/splits"


@sqlite_only
def test_the_ensemble_can_be_exported_once_the_study_was_tested(client, stranger, worker, asked):
    study = order(client, asked)
    route = f"/v1/studies/{study['id']}/model"
    for ask in (client.get, client.post):
        assert "has no ensemble yet" in assert_problem(ask(f"{route}?format=onnx"), 409, "not_ready")["detail"]
    assert_problem(stranger.get(route), 404, "study_not_found")
    members = study["arms"][1]["jobs"]
    with worker.database.write() as session:
        row = session.get_one(StudyRow, study["id"])
        spec = EvaluateSpec(base=tuple(members), winner=tuple(members))
        about = {"owner": row.owner, "study_id": row.id, "dataset_id": row.dataset_id, "name": "test", "priority": 9}
        evaluation = new_jobs.add_evaluation(session, NewJob(spec=spec, **about))
        studies.write(session, row.id, evaluation=evaluation.id)
    held = worker.claim()
    with worker.database.write() as session:
        claims.complete(session, held)
        row = session.get_one(StudyRow, study["id"])
        studies.write(session, row.id, found={**row.found, "ensemble": cure().ensemble.model_dump(mode="json")})
    problem = assert_problem(client.get(f"{route}?format=onnx"), 409, "not_ready")
    assert f"The export of {study['id']}'s model as onnx is queued" in problem["detail"]
    held = worker.claim()
    with worker.database.write() as session:
        assert exports.find_export_source(session, evaluation.id) is None, "it is not the export of a training"
        claims.fail(session, held, code="export_failed", detail="A member is gone.")
    problem = assert_problem(client.get(f"{route}?format=onnx"), 409, "export_failed")
    assert f"POST {route}?format=onnx" in problem["detail"]
    expected = {"object": "export", "job_id": study["id"], "format": "onnx", "status": "queued"}
    assert client.post(f"{route}?format=onnx").json() == expected
    store_export(worker, evaluation.id, shown=study["id"])
    answer = client.get(f"{route}?format=onnx")
    assert (answer.status_code, answer.content) == (200, FILE)
    *_, code = study["name"].split()
    assert answer.headers["content-disposition"] == f'attachment; filename="Study-of-mnist5k-{code}.onnx"'
    link = answer.headers["link"]
    assert client.get(link[1 : link.index(">")]).json()["job_id"] == study["id"]


@sqlite_only
def test_a_study_without_a_winner_has_no_ensemble(client, asked):
    study = order(client, asked)
    client.post(f"/v1/studies/{study['id']}/cancel")
    assert_problem(client.get(f"/v1/studies/{study['id']}/model"), 409, "no_model")


@sqlite_only
def test_studies_are_created_one_at_a_time_with_owners_taking_turns(app, database, key, asked, monkeypatch):
    """If another owner's only study arrives after many of one owner, it is among the next to be created."""
    all_are_queued, order, at_once = threading.Event(), [], []
    really_create = waiting_studies.create_waiting_study

    def watched(session, blobs, owner, *rest, **more):
        at_once.append(owner)
        order.append((owner, len(at_once)))
        assert all_are_queued.wait(120)
        try:
            return really_create(session, blobs, owner, *rest, **more)
        finally:
            at_once.remove(owner)

    monkeypatch.setattr(waiting_studies, "create_waiting_study", watched)
    other = make_key(database, "bob")
    with run_server(app) as (url, _), ThreadPoolExecutor(6) as pool:
        post = partial(httpx2.post, f"{url}/v1/studies", json=asked, timeout=120, trust_env=False)
        answers = [pool.submit(post, headers=bearer(key)) for _ in range(5)]
        turns = app.state.context.study_turns
        wait_until(lambda: sum(map(len, turns._queues.values())) == 4)
        answers.append(pool.submit(post, headers=bearer(other)))
        wait_until(lambda: len(turns._queues) == 2)
        all_are_queued.set()
        assert [answer.result().status_code for answer in answers] == [201] * 6
    assert [running for _, running in order] == [1] * 6
    assert [owner for owner, _ in order].index("bob") <= 2
