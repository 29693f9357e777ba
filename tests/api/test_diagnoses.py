"""Diagnoses as clients see them: at any time of a job, of any history, with the counts behind them."""

import json

import pytest

from tests.api.support import FINAL, assert_problem, sqlite_only, submitted, with_field

pytestmark = sqlite_only

LOSSES = [2.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002]
TURNED = [2.0, 1.1, 0.7, 0.5, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
PAIRS = list(zip(LOSSES, TURNED, strict=True))
FIELDS = ["object", "verdict", "best_epoch", "onset_epoch", "explanation", "findings"]


@pytest.fixture
def job(client, spec) -> str:
    return submitted(client, with_field(spec, "training.epochs", len(LOSSES)))["id"]


def trained(hand, spec) -> object:
    held = hand.claim()
    hand.begin(held, spec)
    for epoch, (training, validation) in enumerate(zip(LOSSES, TURNED, strict=True), 1):
        hand.epoch(held, epoch, train_loss=training, validation_loss=validation)
    return held


def test_a_diagnosis_always_answers(client, job, hand, spec):
    early = client.get(f"/v1/jobs/{job}/diagnosis").json()
    assert list(early) == FIELDS
    assert (early["object"], early["verdict"], early["findings"]) == ("diagnosis", "cannot_tell", [])
    held = trained(hand, client.get(f"/v1/jobs/{job}").json()["spec"])
    running = client.get(f"/v1/jobs/{job}/diagnosis").json()
    assert (running["verdict"], running["best_epoch"]) == ("overfitting", 5)
    hand.succeed(held)
    assert client.get(f"/v1/jobs/{job}/diagnosis").json()["verdict"] == "overfitting"


def test_a_remedy_is_a_patch_that_makes_a_spec(client, job, hand):
    trained(hand, client.get(f"/v1/jobs/{job}").json()["spec"])
    [finding] = [
        one for one in client.get(f"/v1/jobs/{job}/diagnosis").json()["findings"] if one["code"] == "overfitting"
    ]
    names = [remedy["name"] for remedy in finding["remedies"]]
    assert names[0] == "early_stopping"
    assert {"dropout", "l2", "augmentation", "smaller_network"} <= set(names)
    assert all(remedy["patch"] and remedy["reason"] for remedy in finding["remedies"])


def test_another_owners_job_is_not_judged(stranger, job):
    for route in ("diagnosis", "confusion"):
        assert_problem(stranger.get(f"/v1/jobs/{job}/{route}"), 404, "job_not_found")


def test_a_history_from_anywhere_is_judged_the_same(client):
    body = {"history": {"loss": LOSSES, "val_loss": TURNED, "lr": [0.1] * 12}}
    answer = client.post("/v1/diagnoses", json=body)
    assert answer.status_code == 200
    found = answer.json()
    assert list(found) == FIELDS
    assert (found["verdict"], found["best_epoch"]) == ("overfitting", 5)
    assert all(remedy["patch"] is None for one in found["findings"] for remedy in one["remedies"])


def test_the_forms_of_a_history_get_the_same_judgement(client):
    table = "\n".join(["epoch,loss,val_loss", *(f"{n},{a},{b}" for n, (a, b) in enumerate(PAIRS))])
    runs = {
        f"{run}/epoch_loss": [[1.7e9 + step, step, value] for step, value in enumerate(curve)]
        for run, curve in (("train", LOSSES), ("validation", TURNED))
    }
    expected = client.post("/v1/diagnoses", json={"history": {"loss": LOSSES, "val_loss": TURNED}}).json()
    assert expected["verdict"] == "overfitting"
    for body in ({"csv": table}, {"scalars": runs}):
        assert client.post("/v1/diagnoses", json=body).json() == expected


def test_tensorboards_word_for_what_is_no_number_is_a_divergence(client):
    runs = {f"{run}/loss": [[0.0, 0, 1.0], [1.0, 1, "NaN"]] for run in ("train", "validation")}
    assert client.post("/v1/diagnoses", json={"scalars": runs}).json()["verdict"] == "diverged"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"history": {"loss": [1.0], "val_loss": [1.0]}, "csv": "loss,val_loss\n1,1\n"}, ""),
        ({"csv": "epoch,loss\n0,1.0\n"}, "/csv"),
        ({"csv": ""}, "/csv"),
        ({"scalars": {"train/epoch_loss": [[0.0, 0, 1.0]]}}, "/scalars"),
        ({"scalars": {"train/epoch_loss": [[0.0, 0, "x"]]}}, "/scalars/train~1epoch_loss/0/2"),
        ({"history": {}}, "/history"),
        ({"history": {"loss": [1.0], "val_loss": []}}, "/history"),
        ({"history": {"loss": [1.0], "val_loss": [1.0, 2.0]}}, "/history"),
        ({"history": {"loss": ["x"], "val_loss": [1.0]}}, "/history/loss/0"),
        ({"history": {"loss": [1.0], "val_loss": [1.0]}, "spec": {}}, "/spec"),
    ],
)
def test_what_is_no_history_is_refused_with_its_field(client, body, pointer):
    assert_problem(client.post("/v1/diagnoses", json=body), 422, "invalid_spec", pointer)


def test_a_confusion_matrix_is_there_after_the_success(client, job, hand):
    assert_problem(client.get(f"/v1/jobs/{job}/confusion"), 409, "not_ready")
    held = hand.claim()
    classes = [str(digit) for digit in range(10)]
    matrix = [[90 if row == column else 1 for column in range(10)] for row in range(10)]
    per_class = [{"count": 99, "precision": 0.9, "recall": 0.9, "f1": None}] * 10
    split = {
        "confusion": matrix,
        "per_class": per_class,
        "calibration_error": 0.02,
        "mistakes": [{"index": 17, "label": 3, "answer": 8, "probability": 0.99}],
    }
    weaker = split | {"per_class": [one | {"recall": 0.7} for one in per_class]}
    stored = {"classes": classes, "splits": {"train": split, "validation": weaker, "test": weaker}}
    hand.blobs.put(f"jobs/{job}/{held.attempt}/evaluation.json", json.dumps(stored).encode())
    hand.succeed(held, FINAL)
    found = client.get(f"/v1/jobs/{job}/confusion").json()
    assert (found["object"], found["classes"], set(found["splits"])) == (
        "confusion",
        classes,
        {"train", "validation", "test"},
    )
    assert found["splits"]["test"]["confusion"] == matrix
    assert found["splits"]["test"]["per_class"][0]["gap"] == pytest.approx(0.2)
    assert found["splits"]["train"]["per_class"][0]["gap"] is None
    assert found["splits"]["test"]["mistakes"] == [{"index": 17, "label": "3", "answer": "8", "probability": 0.99}]
