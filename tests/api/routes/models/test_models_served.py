"""Models and evaluations over HTTP: visibility, refusals, quotas, the ledger and deletion."""

from datetime import timedelta

import pytest

from heldout.lifecycle.resources import MAX_ARCHITECTURE_BYTES, ModelFormat
from heldout.spec.model_facts import ModelFacts, NetworkFacts
from heldout.stored.results import Measurement
from models.blob_check import compare
from models.store import model_evaluations, models
from models.store.claims import HeldAttempt
from tests.api.routes.test_activity import list_entries
from tests.api.routes.test_quotas import assert_refused, set_limits
from tests.api.support import FINAL, assert_problem, sqlite_only

# tests/models/store proves the SQL on both databases.
pytestmark = sqlite_only

FILE = b"not read" * 50
FACTS = ModelFacts(format=ModelFormat.KERAS, input_shape=(28, 28, 1), output_shape=(10,), parameters=7850)
MEASURED = Measurement.model_validate(
    {"metrics": {name: FINAL[name] for name in ("train", "validation", "test", "gap")}}
)


def list_stored(app) -> set[str]:
    """Return the keys of all model files, including those of other tests in the same store."""
    return {blob.key for blob in app.state.context.blobs.stored("models")}


def upload(client, **params) -> dict:
    answer = client.post("/v1/models", content=FILE, params=params)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/models/{answer.json()['id']}"
    return answer.json()


def add_model(client, worker, facts: ModelFacts = FACTS) -> str:
    model = upload(client)["id"]
    held = worker.claim()
    with worker.database.write() as session:
        models.mark_ready(session, held, model, facts)
    return model


def order_evaluation(client, model: str) -> dict:
    answer = client.post("/v1/evaluations", json={"model": model, "dataset": "mnist5k"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def finish_evaluation(worker, held: HeldAttempt) -> None:
    with worker.database.write() as session:
        model_evaluations.end(session, held, MEASURED, [])


def test_a_model_becomes_ready_and_is_visible_only_to_its_owner(client, stranger, worker):
    model = upload(client, name="mine")
    assert (model["status"], model["name"], model["size_bytes"]) == ("checking", "mine", len(FILE))
    assert_problem(
        client.post("/v1/evaluations", json={"model": model["id"], "dataset": "mnist5k"}),
        *(422, "model_unavailable", "/model"),
    )
    held = worker.claim()
    with worker.database.write() as session:
        models.mark_ready(session, held, model["id"], FACTS)
    found = client.get(f"/v1/models/{model['id']}?wait=1").json()
    assert (found["status"], found["classes"], found["parameters"], found["gives"]) == ("ready", 10, 7850, "answers")
    assert [listed["id"] for listed in client.get("/v1/models").json()["data"]] == [model["id"]]
    assert stranger.get("/v1/models").json()["data"] == []
    for answer in (
        stranger.get(f"/v1/models/{model['id']}"),
        stranger.delete(f"/v1/models/{model['id']}"),
    ):
        assert_problem(answer, 404, "model_not_found")
    theirs = stranger.post("/v1/evaluations", json={"model": model["id"], "dataset": "mnist5k"})
    assert_problem(theirs, 422, "model_not_found", "/model")


def test_a_model_can_be_uploaded_as_a_form_or_a_body(client):
    answer = client.post("/v1/models", files={"file": ("digits.keras", FILE)})
    assert (answer.status_code, answer.json()["name"]) == (201, "digits.keras")
    named = client.post("/v1/models", files={"file": ("digits.keras", FILE)}, data={"name": "mine"})
    assert named.json()["name"] == "mine"
    assert named.json()["sha256"] == answer.json()["sha256"]
    assert_problem(client.post("/v1/models", files={"file": ("x", FILE)}, data={"owner": "eve"}), 400, "invalid_form")


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_an_architecture_is_accepted_with_any_media_type(client, kind):
    """An architecture is recognized by its first bytes."""
    answer = client.post("/v1/models?name=mine", content=b'{"module": "keras"}', headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["status"], answer.json()["size_bytes"]) == (201, "checking", 19)


def test_a_repeated_request_makes_one_model(client, app):
    before = list_stored(app)
    first, second = (client.post("/v1/models", content=FILE, headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert [key.split("/")[1] for key in list_stored(app) - before] == [first.json()["id"]]


def test_models_that_do_not_fit_are_refused_before_they_wait(client, worker):
    for facts, why in (
        (
            FACTS.model_copy(update={"input_shape": (32, 32, 3)}),
            "takes images of 32×32×3, but the dataset's images are",
        ),
        (FACTS.model_copy(update={"output_shape": (7,)}), "has 7 classes, but the dataset has 10"),
        (FACTS.model_copy(update={"output_shape": (4, 4, 64)}), "gives a feature map"),
    ):
        model = add_model(client, worker, facts)
        answer = client.post("/v1/evaluations", json={"model": model, "dataset": "mnist5k"})
        problem = assert_problem(answer, 422, "model_does_not_fit", "/model")
        assert why in problem["detail"]
    answer = client.post("/v1/evaluations", json={"model": add_model(client, worker), "dataset": "nowhere"})
    assert_problem(answer, 422, "dataset_not_found", "/dataset")


def test_an_evaluation_behaves_like_a_job_but_is_in_no_list_of_jobs(client, stranger, worker):
    model = add_model(client, worker)
    waiting = order_evaluation(client, model)
    path = f"/v1/evaluations/{waiting['id']}"
    assert (waiting["status"], waiting["metrics"], waiting["model"]["id"]) == ("queued", None, model)
    assert client.get("/v1/jobs").json()["data"] == []
    assert_problem(client.get(f"{path}/diagnosis"), 409, "not_ready")
    assert_problem(client.delete(f"/v1/models/{model}"), 409, "model_in_use")
    assert_problem(client.delete(path), 409, "evaluation_not_finished")
    held = worker.claim()
    version = client.get(path).headers["etag"]
    assert client.get(path, headers={"If-None-Match": version}).status_code == 304
    finish_evaluation(worker, held)
    finish_evaluation(worker, held)  # repeated, as after a lost acknowledgement
    found = client.get(f"{path}?wait=1").json()
    assert (found["status"], found["metrics"]["test"]) == ("succeeded", FINAL["test"])
    assert client.get(f"{path}/diagnosis").json()["object"] == "diagnosis"
    ledger = client.get("/v1/datasets/mnist5k/ledger").json()
    assert [(entry["split"], entry["subject"], entry["epoch"]) for entry in ledger["entries"]["data"]] == [
        (split, {"object": "model", "id": model}, None) for split in ("test", "validation")
    ]
    assert (ledger["splits"]["test"]["models"], ledger["splits"]["test"]["jobs"]) == (1, 0)
    assert "Your uploaded model has looked at the 1,000 test labels once" in ledger["explanation"]
    for answer in (stranger.get(path), stranger.post(f"{path}/cancel"), stranger.delete(path)):
        assert_problem(answer, 404, "evaluation_not_found")
    assert_problem(client.post(f"{path}/cancel"), 409, "evaluation_finished")
    assert client.delete(path).status_code == 204
    assert_problem(client.get(path), 404, "evaluation_not_found")


def test_a_waiting_evaluation_is_cancelled_at_once_and_a_running_one_by_its_worker(client, worker):
    model = add_model(client, worker)
    first, second = order_evaluation(client, model), order_evaluation(client, model)
    answer = client.post(f"/v1/evaluations/{second['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    held = worker.claim()
    answer = client.post(f"/v1/evaluations/{first['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    finish_evaluation(worker, held)
    found = client.get(f"/v1/evaluations/{first['id']}").json()
    assert (found["status"], found["metrics"]) == ("cancelled", None)
    assert client.delete(f"/v1/models/{model}").status_code == 204
    assert client.get(f"/v1/evaluations/{first['id']}").json()["model"]["id"] == model


@pytest.mark.parametrize("end_of_check", ["failed", "cancelled"])
def test_an_unsuccessful_check_rejects_its_model(client, worker, end_of_check):
    model = upload(client)["id"]
    held = worker.claim()
    if end_of_check == "failed":
        worker.fail(held, "out_of_memory")
        assert client.get(f"/v1/models/{model}").json()["error"]["code"] == "out_of_memory"
    else:
        assert client.delete(f"/v1/models/{model}").status_code == 204
        assert worker.stop_as_requested(held) == "cancelled"
        assert_problem(client.get(f"/v1/models/{model}"), 404, "model_not_found")


def test_models_count_toward_stored_bytes_and_changes_are_logged(client, worker):
    set_limits(worker, stored_bytes=2 * len(FILE))
    first, second = upload(client), upload(client)
    assert_refused(client.post("/v1/models", content=FILE), "stored_bytes", 2 * len(FILE), 2 * len(FILE))
    assert client.delete(f"/v1/models/{first['id']}").status_code == 204
    upload(client)
    assert list_entries(client, subject=first["id"]) == [("delete_model", first["id"]), ("upload_model", first["id"])]
    assert [action for action, _ in list_entries(client)] == [
        *("upload_model", "delete_model", "upload_model", "upload_model")
    ]
    assert second["status"] == "checking"


def test_a_too_large_model_is_refused(client, app):
    before = list_stored(app)
    app.state.context.settings.__dict__["max_model_bytes"] = len(FILE) - 1
    assert_problem(client.post("/v1/models", content=FILE), 413, "body_too_large")
    assert list_stored(app) == before


@pytest.mark.parametrize("send", [lambda content: {"content": content}, lambda content: {"files": {"file": content}}])
def test_oversized_architectures_are_refused_while_they_arrive(client, app, send):
    before = list_stored(app)
    content = b"\xef\xbb\xbf {" + b" " * MAX_ARCHITECTURE_BYTES
    problem = assert_problem(client.post("/v1/models", **send(content)), 413, "body_too_large")
    assert str(MAX_ARCHITECTURE_BYTES) in problem["detail"]
    assert list_stored(app) == before
    response = client.post("/v1/models", **send(b"PK" + content))
    assert response.status_code == 201


def test_a_deep_check_covers_model_files(client, app, worker):
    context = app.state.context
    model = add_model(client, worker)
    [key] = [stored_key for stored_key in list_stored(app) if stored_key.split("/")[1] == model]
    context.blobs.put("models/mod_gone/left", b"left")
    found = compare(context.database, context.blobs, young=timedelta(0))
    orphans = {orphan.key for orphan in found.orphans}
    assert "models/mod_gone/left" in orphans
    assert key not in orphans
    context.blobs.delete("models/mod_gone/left")
    context.blobs.put(key, b"damaged")
    found = compare(context.database, context.blobs, young=timedelta(0))
    assert [(fault.key, fault.why) for fault in found.faults if fault.key == key] == [(key, "damaged")]
    assert client.delete(f"/v1/models/{model}").status_code == 204
    assert key not in list_stored(app)


def test_architectures_without_weights_can_only_be_trained(client, worker):
    network = NetworkFacts(scales_pixels=True, figures_at=(28, 28), flops=1, values=1, largest=1)
    facts = FACTS.model_copy(update={"weights": False, "network": network})
    model = add_model(client, worker, facts)
    assert client.get(f"/v1/models/{model}").json()["weights"] is False
    assert client.get(f"/v1/models/{add_model(client, worker)}").json()["weights"] is True
    evaluation = client.post("/v1/evaluations", json={"model": model, "dataset": "mnist5k"})
    job = {"dataset": "mnist5k", "network": {"blocks": [{"filters": 4}]}, "initial": {"model": model}}
    initial = client.post("/v1/jobs", json=job)
    network = {"backbone": {"model": model}, "blocks": []}
    backbone = client.post("/v1/jobs", json={"dataset": "mnist5k", "network": network})
    own = {"model": model, "weights": "uploaded"}
    uploaded_weights = client.post("/v1/jobs", json={"dataset": "mnist5k", "network": own})
    for answer, code, pointer in (
        (uploaded_weights, "invalid_spec", "/network/weights"),
        (evaluation, "model_does_not_fit", "/model"),
        (initial, "invalid_spec", "/initial/model"),
        (backbone, "invalid_spec", "/network/backbone/model"),
    ):
        problem = assert_problem(answer, 422, code, pointer)
        assert "is an architecture without weights" in problem["detail"]
        assert "upload the `.keras` file" in problem["detail"]
