"""A job's model in several formats: the first request orders it, and only a proven file is served."""

import hashlib
import json

import pytest

from heldout.lifecycle.job import FailureCode, StopReason
from heldout.stored.gap import Calibration
from models.store import claims, named_blobs
from models.store.claims import Capacity
from tests.api.routes.exported import FILE, report_of, store
from tests.api.support import assert_problem, sqlite_only, submitted, with_field
from tests.heldout.served import GAP

pytestmark = sqlite_only


@pytest.fixture
def job(client, worker, spec) -> str:
    """A job that has ended well."""
    job = submitted(client, spec)["id"]
    worker.succeed(worker.claim())
    return job


def fail(worker, code: str, detail: str) -> None:
    held = worker.claim()
    with worker.database.write() as session:
        claims.fail(session, held, code=code, detail=detail)


def listed(client, job: str) -> dict[str, dict]:
    """What is known of each format: a look that orders nothing."""
    return {one["format"]: one for one in client.get(f"/v1/jobs/{job}/exports").json()["data"]}


def test_the_first_request_orders_a_format_and_later_ones_get_the_file_with_its_report(client, worker, job):
    route = f"/v1/jobs/{job}/model?format=onnx"
    assert {one["status"] for one in listed(client, job).values()} == {"absent"}
    first = client.get(route)
    problem = assert_problem(first, 409, "not_ready")
    assert first.headers["retry-after"] == "2"
    assert "model as onnx is queued" in problem["detail"]
    assert_problem(client.get(f"/v1/jobs/{job}/model/report?format=onnx&wait=0.1"), 409, "not_ready")
    assert [one["id"] for one in client.get("/v1/jobs").json()["data"]] == [job], "nobody sees the job that exports"
    store(worker, job)
    with worker.database.write() as session:
        assert not claims.is_any_claimable(session, Capacity(("cpu",))), "nobody has queued a second one"
    answer = client.get(route)
    assert (answer.status_code, answer.content) == (200, FILE)
    assert answer.headers["content-disposition"] == 'attachment; filename="overfit.onnx"'
    assert answer.headers["etag"] == f'"{hashlib.sha256(FILE).hexdigest()}"'
    link = answer.headers["link"]
    assert link == f'</v1/jobs/{job}/model/report?format=onnx>; rel="describedby"'
    report = client.get(link[1 : link.index(">")])
    assert report.json() == report_of(job, "onnx").model_dump(mode="json")
    stored = {"object": "export", "job_id": job, "format": "onnx", "status": "stored"}
    assert listed(client, job)["onnx"] == stored | {"error": None, "report": report.json()}


def test_a_file_that_failed_its_proof_is_not_served_until_another_one_passes(client, worker, job):
    route = f"/v1/jobs/{job}/model?format=litert"
    client.get(route)
    fail(worker, FailureCode.EXPORT_DIFFERS, "It names another class for 3 of 1,000 images.")
    problem = assert_problem(client.get(route), 409, "export_differs")
    assert "another class for 3 of 1,000" in problem["detail"]
    assert f"POST {route}" in problem["detail"]
    failed = listed(client, job)["litert"]
    assert (failed["status"], failed["error"]["code"]) == ("failed", "export_differs")
    with worker.database.write() as session:
        assert not claims.is_any_claimable(session, Capacity(("cpu",))), "it is not tried again unasked"
    ordered = client.post(route)
    assert ordered.status_code == 202
    assert ordered.json() == {"object": "export", "job_id": job, "format": "litert", "status": "queued"}
    assert client.post(route).json()["status"] == "queued"
    store(worker, job, "litert")
    assert client.get(route).content == FILE
    assert client.post(route).json()["status"] == "stored"


@pytest.mark.parametrize("format_", ["onnx", "keras"])
def test_an_exported_file_that_the_blob_store_lost_is_made_once_more_on_order(client, worker, job, format_):
    route = f"/v1/jobs/{job}/model?format={format_}"
    client.post(route)
    store(worker, job, format_)
    worker.blobs.delete_all(f"jobs/{job}/exports")
    answer = client.get(route)
    assert f"POST {route}" in assert_problem(answer, 410, "export_lost")["detail"]
    assert "retry-after" not in answer.headers
    assert client.post(route).json()["status"] == "queued"
    assert client.post(route).json()["status"] == "queued", "once"
    assert listed(client, job)[format_]["report"] is None
    store(worker, job, format_)
    assert client.get(route).content == FILE
    with worker.database.write() as session:
        assert not claims.is_any_claimable(session, Capacity(("cpu",)))


def test_an_export_for_which_the_model_is_lost_says_that_it_is(client, worker, job):
    route = f"/v1/jobs/{job}/model?format=onnx"
    client.get(route)
    fail(worker, FailureCode.MODEL_UNAVAILABLE, "The model is no longer stored.")
    answer = client.get(route)
    detail = assert_problem(answer, 410, "model_lost")["detail"]
    assert f"/v1/jobs/{job}/retry" in detail
    assert f"Once the model is restored, POST {route} exports it." in detail
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        (FailureCode.NOT_SUPPORTED, 422, "not_supported"),
        (FailureCode.EXPORT_FAILED, 409, "export_failed"),
        (FailureCode.DATASET_UNAVAILABLE, 409, "export_failed"),
    ],
)
def test_an_export_that_failed_says_why(client, worker, job, code, status, shown):
    route = f"/v1/jobs/{job}/model/report?format=saved_model"
    client.get(route)
    fail(worker, code, "The worker lacks something.")
    assert "The worker lacks something." in assert_problem(client.get(route), status, shown)["detail"]


def test_the_trainings_own_file_is_there_at_once_and_gone_where_plain_keras_answers_otherwise(client, worker, job):
    assert client.get(f"/v1/jobs/{job}/model").content == client.get(f"/v1/jobs/{job}/model?format=keras").content
    report = f"/v1/jobs/{job}/model/report"
    assert_problem(client.get(report), 409, "not_ready")
    fail(worker, FailureCode.EXPORT_DIFFERS, "It names another class.")
    assert_problem(client.get(f"/v1/jobs/{job}/model"), 409, "export_differs")
    client.post(f"/v1/jobs/{job}/model")
    store(worker, job, "keras")
    assert client.get(report).json()["format"] == "keras"
    assert client.get(f"/v1/jobs/{job}/model").content == FILE, "once it is proven, with its card inside"


def test_an_export_comes_before_trainings_that_wait_for_somebody_waits_for_it(client, worker, spec, job):
    waiting = submitted(client, with_field(spec, "priority", 100))["id"]
    client.post(f"/v1/jobs/{job}/model?format=onnx")
    assert worker.claim().job_id != waiting
    assert worker.claim().job_id == waiting


def test_nothing_is_exported_of_a_job_without_a_model_or_of_another_owner(client, stranger, worker, spec, job):
    for route in ("model?format=onnx", "model/report", "exports"):
        assert_problem(stranger.get(f"/v1/jobs/{job}/{route}"), 404, "job_not_found")
    assert_problem(stranger.post(f"/v1/jobs/{job}/model?format=onnx"), 404, "job_not_found")
    assert_problem(client.get(f"/v1/jobs/{job}/model?format=pmml"), 400, "invalid_parameter")
    young = submitted(client, spec)["id"]
    for ask in (client.get, client.post):
        assert "retry-after" not in ask(f"/v1/jobs/{young}/model?format=onnx").headers
        assert_problem(ask(f"/v1/jobs/{young}/model?format=onnx"), 409, "not_ready")
    worker.fail(worker.claim())
    assert_problem(client.get(f"/v1/jobs/{young}/model?format=onnx"), 409, "no_model")


def test_files_of_exports_belong_to_their_job_and_go_with_it(client, worker, job):
    client.get(f"/v1/jobs/{job}/model?format=onnx")
    store(worker, job)
    (file,) = worker.blobs.stored(f"jobs/{job}/exports")
    with worker.database.read() as session:
        assert file.key in {one.key for one in named_blobs.iterate_named(session)}
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert list(worker.blobs.stored(f"jobs/{job}")) == []


def test_the_card_says_what_the_model_is_for_how_well_it_does_and_how_it_is_made_again(client, stranger, worker, spec):
    waiting = submitted(client, spec)["id"]
    assert_problem(client.get(f"/v1/jobs/{waiting}/card"), 409, "not_ready")
    worker.succeed(worker.claim())
    answer = client.get(f"/v1/jobs/{waiting}/card")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    card = answer.text
    assert "right on 90.0% of 1,000 test images, which very likely means 88.0% to 91.7%" in card
    assert "| training | 3,600 | 90.0% | 88.0% to 91.7% | 0.250 |" in card
    for heading in ("Intended use", "How well does it do", "Why is it worse", "What data", "How do I reproduce it"):
        assert f"## {heading}" in card
    listed = card[card.index("```json") + 7 :]
    assert json.loads(listed[: listed.index("```")]) == client.get(f"/v1/jobs/{waiting}").json()["spec"]
    assert client.get("/v1/datasets/mnist5k").json()["sha256"] in card
    assert_problem(stranger.get(f"/v1/jobs/{waiting}/card"), 404, "job_not_found")


@pytest.mark.parametrize(("after", "said"), [(0.02, "divided by 0.49"), (0.08, "does not fix that")])
def test_the_card_names_a_temperature_only_where_it_helps(client, worker, spec, after, said):
    job = submitted(client, spec)["id"]
    found = Calibration(temperature=0.49, error_before=0.05, error_after=after, loss_before=0.3, loss_after=0.2)
    worker.succeed(worker.claim(), gap=GAP.model_copy(update={"calibration": found}))
    card = client.get(f"/v1/jobs/{job}/card").text
    assert said in card
    assert ("0.49" in card) is (after < found.error_before)


def test_the_script_is_there_at_once_and_has_what_the_job_needs_and_nothing_else(client, worker, spec):
    plain = submitted(client, spec)["id"]
    worker.succeed(worker.claim())
    answer = client.get(f"/v1/jobs/{plain}/model?format=python")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/x-python; charset=utf-8")
    assert f"SEED = {client.get(f'/v1/jobs/{plain}').json()['spec']['training']['seed']}" in answer.text
    assert "mnist_5k.csv.gz" in answer.text
    training = {**spec["training"], "mixup": 0.2, "ema_decay": 0.9}
    asked = {**spec, "augmentation": {"contrast": 0.2}, "training": training, "initial": {"job": plain}}
    richer = submitted(client, asked)["id"]
    held = worker.claim()
    for epoch in (1, 2):
        worker.epoch(held, epoch)
    worker.succeed(held, stop_reason=StopReason.DEADLINE)
    text = client.get(f"/v1/jobs/{richer}/model?format=python").text
    compile(text, "script", "exec")
    assert f"INITIAL is the `.keras` file of {plain}" in text
    assert "for epoch in range(1, 3):  # the job ran out of time here" in text
    for part in ("reduce_mean", "blended", "decay", "start_from"):
        assert part in text
        assert part not in answer.text
