"""Diagnoses over HTTP of jobs at any time and of histories from elsewhere."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from api.routes import diagnoses
from heldout.statistics import compute_newcombe_interval
from heldout.stored.gap import HeldOutCopies, StoredGap, Tally
from heldout.views.diagnosis import DiagnosisView
from tests.api.support import FINAL, assert_problem, bearer, make_key, sqlite_only, submit, with_field

pytestmark = sqlite_only

LOSSES = [2.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002]
TURNED = [2.0, 1.1, 0.7, 0.5, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
PAIRS = list(zip(LOSSES, TURNED, strict=True))
FIELDS = ["object", "verdict", "headline", "summary", "figures", "certainty", "causes", "best_epoch", "onset_epoch"]
FIELDS += ["explanation", "findings", "caveats", "gap", "confidence", "calibration", "tried", "groups", "left_out"]


@pytest.fixture
def job(client, spec) -> str:
    return submit(client, with_field(spec, "training.epochs", len(LOSSES)))["id"]


def train(worker, spec) -> object:
    held = worker.claim()
    worker.begin(held, spec)
    for epoch, (training, validation) in enumerate(zip(LOSSES, TURNED, strict=True), 1):
        accuracies = {"train_accuracy": 0.9 + 0.005 * epoch, "validation_accuracy": 0.9 - 0.01 * epoch}
        worker.epoch(held, epoch, train_loss=training, validation_loss=validation, **accuracies)
    return held


def test_a_job_has_a_diagnosis_at_any_time(client, job, worker, spec):
    early = client.get(f"/v1/jobs/{job}/diagnosis").json()
    assert list(early) == FIELDS
    assert (early["object"], early["verdict"], early["findings"]) == ("diagnosis", "cannot_tell", [])
    held = train(worker, client.get(f"/v1/jobs/{job}").json()["spec"])
    running = client.get(f"/v1/jobs/{job}/diagnosis").json()
    assert (running["verdict"], running["best_epoch"]) == ("overfitting", 5)
    worker.succeed(held)
    assert client.get(f"/v1/jobs/{job}/diagnosis").json()["verdict"] == "overfitting"


def make_tally(right: int, count: int) -> Tally:
    return Tally(count=count, correct=right, loss=2 - right / count, loss_variance=1.0)


GAP = StoredGap(
    kept_epoch=12,
    epochs=12,
    train=make_tally(990, 1000),
    validation=make_tally(360, 400),
    test=make_tally(800, 1000),
    test_copies=HeldOutCopies(clean=make_tally(720, 900), copied=make_tally(80, 100)),
)


def test_the_gap_of_an_ended_job_is_reported_term_by_term(client, job, worker):
    held = train(worker, client.get(f"/v1/jobs/{job}").json()["spec"])
    assert client.get(f"/v1/jobs/{job}/diagnosis").json()["gap"] is None
    worker.succeed(held, gap=GAP)
    found = client.get(f"/v1/jobs/{job}/diagnosis").json()
    gap = found["gap"]
    assert list(gap) == ["train", "validation", "test", "terms", "family_of_chance", "found_groups"]
    assert (gap["test"]["accuracy"], gap["test"]["count"], gap["test"]["loss"]) == (0.8, 1000, pytest.approx(1.2))
    generalisation, difference, copies = gap["terms"]
    assert generalisation == {
        "code": "generalisation",
        "accuracy": pytest.approx(0.09),
        "accuracy_interval": pytest.approx(compute_newcombe_interval((990 / 5, 1000 / 5), (360 / 5, 400 / 5))),
        "loss": pytest.approx(0.09),
        "loss_interval": generalisation["loss_interval"],
        "how": "measured",
        "finding": "overfitting",
        "explanation": "The network answers 99.0% of the training images correctly, and 90.0% of the validation "
        "images, which it was not trained on.",
    }
    assert (difference["code"], difference["finding"]) == ("split_difference", "split_shift")
    assert (copies["code"], copies["accuracy"], copies["finding"]) == ("copies_in_test", 0, "leakage")
    assert (found["verdict"], found["caveats"]) == ("split_shift", ["leakage", "metric_artefact"])
    assert "10 from a different test set and 9 from the gap to new images" in found["explanation"]
    explains = {finding["code"]: finding["explains"] for finding in found["findings"]}
    assert explains["overfitting"]["accuracy"] == pytest.approx(0.09)
    assert explains["overfitting"]["interval"] == generalisation["accuracy_interval"]
    assert explains["metric_artefact"] is None
    assert 0.5 < found["confidence"] < 1
    assert 0.5 < found["findings"][0]["confidence"] < 1


def test_another_owners_job_has_no_diagnosis(stranger, job):
    for route in ("diagnosis", "confusion"):
        assert_problem(stranger.get(f"/v1/jobs/{job}/{route}"), 404, "job_not_found")


def test_a_history_from_elsewhere_gets_the_same_diagnosis(client):
    body = {"history": {"loss": LOSSES, "val_loss": TURNED, "lr": [0.1] * 12}}
    answer = client.post("/v1/diagnoses", json=body)
    assert answer.status_code == 200
    found = answer.json()
    assert list(found) == FIELDS
    assert (found["verdict"], found["best_epoch"]) == ("overfitting", 5)
    assert all(remedy["patch"] is None for finding in found["findings"] for remedy in finding["remedies"])


def test_all_forms_of_a_history_get_the_same_diagnosis(client):
    table = "\n".join(["epoch,loss,val_loss", *(f"{n},{a},{b}" for n, (a, b) in enumerate(PAIRS))])
    runs = {
        f"{run}/epoch_loss": [[1.7e9 + step, step, value] for step, value in enumerate(curve)]
        for run, curve in (("train", LOSSES), ("validation", TURNED))
    }
    expected = client.post("/v1/diagnoses", json={"history": {"loss": LOSSES, "val_loss": TURNED}}).json()
    assert expected["verdict"] == "overfitting"
    records = [{"epoch": n, "train_loss": a, "val_loss": b} for n, (a, b) in enumerate(PAIRS)]
    log_history = [
        row for n, (a, b) in enumerate(PAIRS, 1) for row in ({"epoch": n, "loss": a}, {"epoch": n, "eval_loss": b})
    ]
    printed = "".join(f"Epoch {n}/12\n5/5 - 1s - loss: {a} - val_loss: {b}\n" for n, (a, b) in enumerate(PAIRS, 1))
    for body in (
        {"csv": table},
        {"scalars": runs},
        {"history": records},
        {"history": {"train": [{"loss": a} for a, _ in PAIRS], "val": [{"loss": b} for _, b in PAIRS]}},
        {"history": {"log_history": log_history, "best_metric": None}},
        {"history": {"train": {"loss": LOSSES}, "val": {"loss": TURNED}}},
        {"history": {"train_losses": LOSSES, "val_losses": TURNED}},
        {"log": printed},
        {"log": "".join(json.dumps(record) + "\n" for record in records)},
        {"log": table},
    ):
        assert client.post("/v1/diagnoses", json=body).json() == expected, body


def test_the_named_run_of_two_is_diagnosed(client):
    head, *lines = ["epoch,loss,val_loss", *(f"{n},{a},{a}" for n, a in enumerate(LOSSES))]
    turned = [f"{n},{a},{b}" for n, (a, b) in enumerate(PAIRS)]
    body = {"csv": "\n".join([head, *lines, *turned])}
    problem = assert_problem(client.post("/v1/diagnoses", json=body), 422, "invalid_spec", "/csv")
    assert "There are 2 runs (1: 12 epochs, 2: 12 epochs)" in problem["detail"]
    verdicts = [client.post("/v1/diagnoses", json=body | {"run": run}).json()["verdict"] for run in (1, 2)]
    assert verdicts[1] == "overfitting" != verdicts[0]
    assert_problem(client.post("/v1/diagnoses", json=body | {"run": 3}), 422, "invalid_spec", "/run")


def test_deeply_nested_bodies_are_refused(client):
    deep = "[" * 100_000
    assert_problem(client.post("/v1/diagnoses", json={"log": '{"a":' + deep}), 422, "invalid_spec", "/log")
    inner = {"loss": [1.0]}
    for _ in range(50):
        inner = {"a": inner}
    assert_problem(client.post("/v1/diagnoses", json={"history": inner}), 422, "invalid_spec", "/history")


def test_the_document_names_the_curves_of_keras_and_allows_others(client):
    document = client.get("/openapi.json").json()["components"]["schemas"]["KerasHistory"]
    assert list(document["properties"]) == ["loss", "val_loss", "accuracy", "val_accuracy"]
    assert all(curve["type"] == "array" and curve["maxItems"] == 10_000 for curve in document["properties"].values())
    assert document["additionalProperties"] is True
    assert (document["maxProperties"], document["propertyNames"]) == (1000, {"maxLength": 256})


def test_invalid_histories_are_refused_by_pointer(client):
    for body, pointer in [
        ({}, ""),
        ({"history": {"loss": [1.0], "val_loss": [1.0]}, "csv": "loss,val_loss\n1,1\n"}, ""),
        ({"csv": "epoch,loss\n0,1.0\n"}, "/csv"),
        ({"scalars": {"train/epoch_loss": [[0.0, 0, 1.0]]}}, "/scalars"),
        ({"scalars": {"train/epoch_loss": [[0.0, 0, "x"]]}}, "/scalars/train~1epoch_loss/0/2"),
        ({"history": {"loss": [1.0], "val_loss": []}}, "/history"),
        ({"history": {"loss": ["x"], "val_loss": [1.0]}}, "/history/loss/0"),
        ({"history": {"train_loss": [1.0, "x"], "val_loss": [1.0, 2.0]}}, "/history/train_loss/1"),
        ({"history": {"loss": [1.0] * 10_001, "val_loss": [1.0]}}, "/history/loss"),
        ({"history": {"loss": [1.0], "val_loss": [1.0], "x" * 257: []}}, f"/history/{'x' * 257}"),
        ({"history": {"loss": [1.0], "val_loss": [1.0], **{str(n): 0 for n in range(999)}}}, "/history"),
        ({"history": [1.0]}, "/history/0"),
        ({"log": "nothing to see here"}, "/log"),
        ({"csv": "epoch,loss,val_loss\n1,1,1\n2,1,1\n1,2,2\n2,1,1\n"}, "/csv"),
        ({"csv": "epoch,loss,val_loss\n1,1,1\n", "run": 2}, "/run"),
        ({"csv": "epoch,loss,val_loss\n1,1,1\n", "run": 0}, "/run"),
        ({"scalars": {"a/loss": [[0.0, 2**63, 1.0]], "val/loss": [[0.0, 1, 1.0]]}}, "/scalars/a~1loss/0/1"),
        ({"history": {"loss": [1.0], "val_loss": [1.0]}, "spec": {}}, "/spec"),
    ]:
        assert_problem(client.post("/v1/diagnoses", json=body), 422, "invalid_spec", pointer)


def test_files_of_a_later_release_are_refused(client, job, worker):
    held = worker.claim()
    worker.succeed(held, FINAL, evaluation=b'{"format": 2, "matrices": []}')
    for route in ("diagnosis", "confusion"):
        problem = assert_problem(client.get(f"/v1/jobs/{job}/{route}"), 503, "file_of_later_release")
        assert "evaluation.json is stored in version 2" in problem["detail"]
    assert client.get(f"/v1/jobs/{job}").json()["summary"]["verdict"] is None


def test_a_result_of_an_early_release_has_a_diagnosis_and_no_confusion_matrix(client, job, worker):
    worker.succeed(worker.claim(), FINAL)  # without an evaluation
    assert client.get(f"/v1/jobs/{job}/diagnosis").status_code == 200
    assert_problem(client.get(f"/v1/jobs/{job}/confusion"), 409, "no_model")


def test_a_confusion_matrix_is_available_after_success(client, job, worker):
    assert_problem(client.get(f"/v1/jobs/{job}/confusion"), 409, "not_ready")
    held = worker.claim()
    classes = [str(digit) for digit in range(10)]
    matrix = [[90 if row == column else 1 for column in range(10)] for row in range(10)]
    per_class = [{"count": 99, "precision": 0.9, "recall": 0.9, "f1": None}] * 10
    split = {
        "confusion": matrix,
        "per_class": per_class,
        "calibration_error": 0.02,
        "mistakes": [
            {"index": 17, "label": 3, "answer": 8, "probability": 0.99},
            {"index": 18, "member": "3/é.png", "label": 3, "answer": 8, "probability": 0.98},
        ],
    }
    weaker = split | {"per_class": [scores | {"recall": 0.7} for scores in per_class]}
    stored = {"classes": classes, "splits": {"train": split, "validation": weaker, "test": weaker}}
    worker.succeed(held, FINAL, evaluation=json.dumps(stored).encode())
    found = client.get(f"/v1/jobs/{job}/confusion").json()
    assert (found["object"], found["classes"], set(found["splits"])) == (
        "confusion",
        classes,
        {"train", "validation", "test"},
    )
    assert found["splits"]["test"]["confusion"] == matrix
    assert found["splits"]["test"]["per_class"][0]["gap"] == pytest.approx(0.2)
    assert found["splits"]["train"]["per_class"][0]["gap"] is None
    dataset = client.get(f"/v1/jobs/{job}").json()["dataset"]["id"]
    of, pictures = {"label": "3", "answer": "8"}, f"/v1/datasets/{dataset}/preview"
    assert found["splits"]["test"]["mistakes"] == [
        {"index": 17, "member": None, "thumbnail": f"{pictures}/17", **of, "probability": 0.99},
        {"index": 18, "member": "3/é.png", "thumbnail": f"{pictures}/18", **of, "probability": 0.98},
    ]
    assert client.get(found["splits"]["test"]["mistakes"][0]["thumbnail"]).headers["content-type"] == "image/png"


def test_a_slow_file_delays_only_its_owners_next_one(service, key, database, monkeypatch):
    judge, started, may_continue = diagnoses._diagnose_file, threading.Semaphore(0), threading.Event()

    def slow(file, *asked) -> DiagnosisView:
        if file.filename == "slow.csv":
            started.release()
            assert may_continue.wait(120)
        return judge(file, *asked)

    monkeypatch.setattr(diagnoses, "_diagnose_file", slow)

    def ask(name: str, key: str) -> int:
        file = {"file": (name, b"split,label,answer\ntrain,0,0\ntest,1,0\n")}
        url = service.base_url.join("/v1/diagnoses/predictions")
        return httpx2.post(url, files=file, headers=bearer(key), timeout=120).status_code

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, name, key) for name in ("slow.csv", "slow.csv")]
        assert started.acquire(timeout=60)
        assert ask("quick.csv", make_key(database, "eve")) == 200
        assert not started.acquire(timeout=0.2), "an owner's files are diagnosed one at a time"
        may_continue.set()
        assert [request.result(240) for request in asked] == [200, 200]
