"""A job's model is exported to several formats on request, and only checked files are served."""

import hashlib
import json
import re
from dataclasses import replace

import pytest

from analysis.reports.card import CardFacts, build_card
from heldout.documents.blocks import Document
from heldout.lifecycle.job import FailureCode, StopReason
from heldout.stored.gap import Calibration
from models.store import claims, named_blobs
from models.store.claims import Capacity
from tests.analysis.reports.reading import find_outside_html
from tests.api.routes.exported import FILE, make_report, store_export
from tests.api.support import assert_problem, sqlite_only, submit, with_field
from tests.heldout.served import GAP

pytestmark = sqlite_only


@pytest.fixture
def job(client, worker, spec) -> str:
    """Return a job that has succeeded."""
    job = submit(client, spec)["id"]
    worker.succeed(worker.claim())
    return job


def fail(worker, code: str, detail: str) -> None:
    held = worker.claim()
    with worker.database.write() as session:
        claims.fail(session, held, code=code, detail=detail)


def list_exports(client, job: str) -> dict[str, dict]:
    """Return the export of each format, without ordering any."""
    return {export["format"]: export for export in client.get(f"/v1/jobs/{job}/exports").json()["data"]}


def test_the_first_request_orders_an_export_and_later_ones_get_file_and_report(client, worker, job):
    route = f"/v1/jobs/{job}/model?format=onnx"
    assert {export["status"] for export in list_exports(client, job).values()} == {"absent"}
    first = client.get(route)
    problem = assert_problem(first, 409, "not_ready")
    assert first.headers["retry-after"] == "2"
    assert "model as onnx is queued" in problem["detail"]
    assert_problem(client.get(f"/v1/jobs/{job}/model/report?format=onnx&wait=0.1"), 409, "not_ready")
    assert [job_view["id"] for job_view in client.get("/v1/jobs").json()["data"]] == [job], (
        "exports are not listed as jobs"
    )
    store_export(worker, job)
    with worker.database.write() as session:
        assert not claims.is_any_claimable(session, Capacity(("cpu",))), "no second export was queued"
    answer = client.get(route)
    assert (answer.status_code, answer.content) == (200, FILE)
    assert answer.headers["content-disposition"] == 'attachment; filename="overfit.onnx"'
    assert answer.headers["etag"] == f'"{hashlib.sha256(FILE).hexdigest()}"'
    link = answer.headers["link"]
    assert link == f'</v1/jobs/{job}/model/report?format=onnx>; rel="describedby"'
    report = client.get(link[1 : link.index(">")])
    assert report.json() == make_report(job, "onnx").model_dump(mode="json")
    stored = {"object": "export", "job_id": job, "format": "onnx", "status": "stored"}
    assert list_exports(client, job)["onnx"] == stored | {"error": None, "report": report.json()}


def test_an_export_that_failed_its_check_is_not_served_until_a_later_one_passes(client, worker, job):
    route = f"/v1/jobs/{job}/model?format=litert"
    client.get(route)
    fail(worker, FailureCode.EXPORT_DIFFERS, "It names another class for 3 of 1,000 images.")
    problem = assert_problem(client.get(route), 409, "export_differs")
    assert "another class for 3 of 1,000" in problem["detail"]
    assert f"POST {route}" in problem["detail"]
    failed = list_exports(client, job)["litert"]
    assert (failed["status"], failed["error"]["code"]) == ("failed", "export_differs")
    with worker.database.write() as session:
        assert not claims.is_any_claimable(session, Capacity(("cpu",))), "it is not repeated automatically"
    ordered = client.post(route)
    assert ordered.status_code == 202
    assert ordered.json() == {"object": "export", "job_id": job, "format": "litert", "status": "queued"}
    assert client.post(route).json()["status"] == "queued"
    store_export(worker, job, "litert")
    assert client.get(route).content == FILE
    assert client.post(route).json()["status"] == "stored"


@pytest.mark.parametrize("format_", ["onnx", "keras"])
def test_a_lost_export_is_made_again_on_request(client, worker, job, format_):
    route = f"/v1/jobs/{job}/model?format={format_}"
    client.post(route)
    store_export(worker, job, format_)
    worker.blobs.delete_all(f"jobs/{job}/exports")
    answer = client.get(route)
    assert f"POST {route}" in assert_problem(answer, 410, "export_lost")["detail"]
    assert "retry-after" not in answer.headers
    assert client.post(route).json()["status"] == "queued"
    assert client.post(route).json()["status"] == "queued", "it is queued only once"
    assert list_exports(client, job)[format_]["report"] is None
    store_export(worker, job, format_)
    assert client.get(route).content == FILE
    with worker.database.write() as session:
        assert not claims.is_any_claimable(session, Capacity(("cpu",)))


def test_an_export_of_a_lost_model_says_so(client, worker, job):
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
def test_a_failed_export_says_why(client, worker, job, code, status, shown):
    route = f"/v1/jobs/{job}/model/report?format=saved_model"
    client.get(route)
    fail(worker, code, "The worker lacks something.")
    assert "The worker lacks something." in assert_problem(client.get(route), status, shown)["detail"]


def test_the_trained_file_is_served_at_once_unless_plain_keras_disagrees(client, worker, job):
    assert client.get(f"/v1/jobs/{job}/model").content == client.get(f"/v1/jobs/{job}/model?format=keras").content
    report = f"/v1/jobs/{job}/model/report"
    assert_problem(client.get(report), 409, "not_ready")
    fail(worker, FailureCode.EXPORT_DIFFERS, "It names another class.")
    assert_problem(client.get(f"/v1/jobs/{job}/model"), 409, "export_differs")
    client.post(f"/v1/jobs/{job}/model")
    store_export(worker, job, "keras")
    assert client.get(report).json()["format"] == "keras"
    assert client.get(f"/v1/jobs/{job}/model").content == FILE, "the checked file, which contains the model card"


def test_exports_run_before_waiting_trainings(client, worker, spec, job):
    waiting = submit(client, with_field(spec, "priority", 100))["id"]
    client.post(f"/v1/jobs/{job}/model?format=onnx")
    assert worker.claim().job_id != waiting
    assert worker.claim().job_id == waiting


def test_only_an_owners_jobs_with_a_model_are_exported(client, stranger, worker, spec, job):
    for route in ("model?format=onnx", "model/report", "exports"):
        assert_problem(stranger.get(f"/v1/jobs/{job}/{route}"), 404, "job_not_found")
    assert_problem(stranger.post(f"/v1/jobs/{job}/model?format=onnx"), 404, "job_not_found")
    assert_problem(client.get(f"/v1/jobs/{job}/model?format=pmml"), 400, "invalid_parameter")
    young = submit(client, spec)["id"]
    for ask in (client.get, client.post):
        assert "retry-after" not in ask(f"/v1/jobs/{young}/model?format=onnx").headers
        assert_problem(ask(f"/v1/jobs/{young}/model?format=onnx"), 409, "not_ready")
    worker.fail(worker.claim())
    assert_problem(client.get(f"/v1/jobs/{young}/model?format=onnx"), 409, "no_model")


def test_export_files_belong_to_their_job_and_are_deleted_with_it(client, worker, job):
    client.get(f"/v1/jobs/{job}/model?format=onnx")
    store_export(worker, job)
    (file,) = worker.blobs.stored(f"jobs/{job}/exports")
    with worker.database.read() as session:
        assert file.key in {blob.key for blob in named_blobs.iterate_named(session)}
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert list(worker.blobs.stored(f"jobs/{job}")) == []


def test_the_model_card_covers_use_results_and_reproduction(client, stranger, worker, spec):
    waiting = submit(client, spec)["id"]
    assert_problem(client.get(f"/v1/jobs/{waiting}/card"), 409, "not_ready")
    worker.succeed(worker.claim())
    answer = client.get(f"/v1/jobs/{waiting}/card")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    card = answer.text
    top = card.partition("## ")[0]
    for figure in client.get(f"/v1/jobs/{waiting}/diagnosis").json()["figures"]:
        assert f"- **{figure['name']}:** {figure['text']} {figure['note']}" in top
    assert "right on 90.0% of 1,000 test images, which very likely means 88.0% to 91.7%" in card
    assert "| training | 3,600 | 90.0% | 88.0% to 91.7% | 0.250 |" in card
    for heading in ("Intended use", "How well does it do", "Why is it worse", "What data", "How do I reproduce it"):
        assert f"## {heading}" in card
    listed = card[card.index("```json") + 7 :]
    assert json.loads(listed[: listed.index("```")]) == client.get(f"/v1/jobs/{waiting}").json()["spec"]
    assert client.get("/v1/datasets/mnist5k").json()["sha256"] in card
    assert_problem(stranger.get(f"/v1/jobs/{waiting}/card"), 404, "job_not_found")


def test_html_in_names_of_jobs_datasets_and_classes_is_text_on_a_model_card(client, worker, spec, monkeypatch):
    name = "<script>alert(1)</script>`<b>` | [a](http://b.example)"
    job = submit(client, {**spec, "name": name, "metadata": {"note": name}})["id"]
    worker.succeed(worker.claim())

    def build_hostile(facts: CardFacts) -> Document:
        dataset = facts.job.dataset.model_copy(update={"name": name})
        shown = facts.job.model_copy(update={"dataset": dataset})
        return build_card(replace(facts, job=shown, classes=[name, *facts.classes[1:]]))

    monkeypatch.setattr("models.study_report.build_card", build_hostile)
    card = client.get(f"/v1/jobs/{job}/card").text
    assert card.count("alert(1)") >= 5
    assert find_outside_html(card) == set()
    assert not re.search("<[a-z!]", card)


@pytest.mark.parametrize(("after", "statement"), [(0.02, "divided by 0.49"), (0.08, "does not fix that")])
def test_the_model_card_names_a_temperature_only_if_it_helps(client, worker, spec, after, statement):
    job = submit(client, spec)["id"]
    found = Calibration(temperature=0.49, error_before=0.05, error_after=after, loss_before=0.3, loss_after=0.2)
    worker.succeed(worker.claim(), gap=GAP.model_copy(update={"calibration": found}))
    card = client.get(f"/v1/jobs/{job}/card").text
    assert statement in card
    assert ("0.49" in card) is (after < found.error_before)


def test_the_script_is_served_at_once_and_has_only_what_the_job_needs(client, worker, spec):
    plain = submit(client, spec)["id"]
    worker.succeed(worker.claim())
    answer = client.get(f"/v1/jobs/{plain}/model?format=python")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/x-python; charset=utf-8")
    assert f"SEED = {client.get(f'/v1/jobs/{plain}').json()['spec']['training']['seed']}" in answer.text
    assert "mnist_5k.csv.gz" in answer.text
    training = {**spec["training"], "mixup": 0.2, "ema_decay": 0.9}
    asked = {**spec, "augmentation": {"contrast": 0.2}, "training": training, "initial": {"job": plain}}
    richer = submit(client, asked)["id"]
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
