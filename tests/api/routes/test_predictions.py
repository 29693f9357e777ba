"""Predictions as JSON and as files get the same diagnosis, and refusals name the place."""

import io
import json

import numpy as np

from tests.analysis.answers.made import arrays, predicted
from tests.api.support import assert_problem, sqlite_only

pytestmark = sqlite_only

SPLITS = {"train": predicted(0.99, 600, 0), "validation": predicted(0.85, 300, 1), "test": predicted(0.84, 300, 2)}
BODY = {
    split: {"labels": labels.tolist(), "probabilities": probabilities.astype(np.float64).round(5).tolist()}
    for split, (labels, probabilities) in SPLITS.items()
}
ROUTE = "/v1/diagnoses/predictions"
# A history in which the predictions above belong to the third epoch.
RIGHT = [float((probabilities.argmax(axis=1) == labels).mean()) for labels, probabilities in SPLITS.values()]
HISTORY = {
    "accuracy": [0.8, 0.9, 0.99, 0.995, *[1.0] * 8],
    "val_accuracy": [0.75, 0.8, RIGHT[1], *[0.83] * 9],
    "loss": [0.6, 0.4, 0.2, *[0.1 / epoch for epoch in range(1, 10)]],
}


def make_npz(**content) -> bytes:
    file = io.BytesIO()
    np.savez(file, **content)
    return file.getvalue()


def send(client, content: bytes, training: object = None, **files):
    data = {} if training is None else {"training": training if isinstance(training, str) else json.dumps(training)}
    return client.post(ROUTE, files={"file": ("predictions", content)} | files, data=data)


def test_json_npz_and_csv_get_the_same_diagnosis(client):
    found = client.post("/v1/diagnoses", json={"predictions": BODY}).json()
    assert found["verdict"] == "too_little_data"
    assert [term["code"] for term in found["gap"]["terms"]] == ["generalisation", "split_difference"]
    assert found["gap"]["test"]["accuracy"] == RIGHT[2]
    assert (found["best_epoch"], found["confidence"], found["calibration"]["split"]) == (None, None, "validation")
    assert "epochs" not in found["explanation"]
    rounded = {f"{split}_probabilities": np.array(sent["probabilities"]) for split, sent in BODY.items()}
    lines = [
        ",".join(map(str, [split, label, *row]))
        for split, sent in BODY.items()
        for label, row in zip(sent["labels"], sent["probabilities"], strict=True)
    ]
    table = "\n".join(["split,label," + ",".join(f"p_{place}" for place in range(10)), *lines]).encode()
    for content in (make_npz(**arrays(**SPLITS) | rounded), table):
        assert send(client, content).json() == found


def test_a_history_is_combined_with_answers_of_the_same_training(client):
    """The weights were kept at epoch 3, before validation got worse."""
    pair = {"history": HISTORY | {"val_loss": [0.7, 0.55, 0.5, *[0.5 + 0.1 * epoch for epoch in range(1, 10)]]}}
    alone = client.post("/v1/diagnoses", json=pair).json()
    assert alone["verdict"] in {"overfitting", "overconfidence"}
    labels, probabilities = SPLITS["validation"]
    loss = float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())
    pair["history"]["val_loss"][2] = loss
    pair["history"]["val_loss"][:2] = [loss + 0.3, loss + 0.1]
    pair["history"]["val_loss"][3:] = [loss + 0.1 * epoch for epoch in range(1, 10)]
    both = client.post("/v1/diagnoses", json=pair | {"predictions": BODY}).json()
    assert both["explanation"].endswith("The answers are those of epoch 3: its validation figures are the same.")
    assert both["best_epoch"] == 3
    assert [finding["severity"] for finding in both["findings"] if finding["code"] == "overfitting"] == ["info"]
    assert both["gap"] is not None
    assert send(client, make_npz(**arrays(**SPLITS)), pair).json()["verdict"] == both["verdict"]


def test_some_of_the_splits_get_a_partial_diagnosis(client):
    for names, missing in ((["test"], "training images are missing"), (["train"], "validation and test images")):
        found = client.post("/v1/diagnoses", json={"predictions": {name: BODY[name] for name in names}}).json()
        assert (found["verdict"] in {"cannot_tell", "test_too_small"}, found["gap"]) == (True, None)
        assert missing in found["explanation"] or found["verdict"] == "test_too_small"
    found = client.post("/v1/diagnoses", json={"predictions": {name: BODY[name] for name in ("train", "test")}}).json()
    assert found["gap"]["validation"] is None
    assert [term["code"] for term in found["gap"]["terms"]] == ["generalisation"]


REFUSED = [
    ({"labels": [0, 1, 2, 17]}, "/labels/3", "Received 17; expected a whole number from 0 to 9"),
    ({"labels": [0, 1, 2, 10**30]}, "/labels/3", "Received 1000"),
    ({"probabilities": None}, "", "Received neither"),
    ({"hashes": ["a"]}, "/hashes", "Received 1 value for 4 labels"),
    ({"hash": ["a"]}, "/hash", "There is no such field"),
]


def test_refusals_point_at_the_value(client):
    for change, pointer, words in REFUSED:
        test = {"labels": [0, 1, 2, 3], "probabilities": [[0.1] * 10] * 4} | change
        answer = client.post("/v1/diagnoses", json={"predictions": {"train": BODY["train"], "test": test}})
        problem = assert_problem(answer, 422, "invalid_spec", f"/predictions/test{pointer}")
        assert words in problem["errors"][0]["detail"]


def test_bodies_without_curves_or_predictions_are_refused(client):
    for body in ({}, {"classes": 2}, {"predictions": None}):
        problem = assert_problem(client.post("/v1/diagnoses", json=body), 422, "invalid_spec", "")
        assert problem["detail"].endswith("Expected one of `history`, `csv`, `scalars` and `log`, or `predictions`.")
    assert_problem(client.post("/v1/diagnoses", json={"predictions": {}}), 422, "invalid_spec", "/predictions")
    wrong = {"predictions": BODY, "classes": 3}
    assert_problem(client.post("/v1/diagnoses", json=wrong), 422, "invalid_spec", "/classes")
    run = {"predictions": BODY, "run": 2}
    assert_problem(client.post("/v1/diagnoses", json=run), 422, "invalid_spec", "/run")


def test_the_number_of_classes_adds_to_a_historys_diagnosis(client):
    losses = {"loss": [0.7, 0.69, 0.68, *[0.67] * 6], "val_loss": [0.72, 0.7, 0.69, *[0.688] * 6]}
    found = client.post("/v1/diagnoses", json={"history": losses, "classes": 2}).json()
    assert found["verdict"] == "cannot_tell"
    assert "ends at 0.688, and guessing among 2 classes costs 0.6931" in found["explanation"]


def test_unreadable_files_and_forms_are_refused(client):
    bad = make_npz(**arrays(test=SPLITS["test"]) | {"test_labels": np.full(300, 12)})
    problem = assert_problem(send(client, bad), 422, "invalid_spec", "/file/test/labels/0")
    assert problem["detail"] == "Test, labels, image 1: received 12; expected a whole number from 0 to 9."
    assert_problem(send(client, b"\x00" * 100), 422, "invalid_spec", "/file")
    whole = make_npz(**arrays(**SPLITS))
    assert_problem(send(client, whole, {"history": {"loss": [1]}}), 422, "invalid_spec", "/history")
    assert_problem(send(client, whole, {"predictions": BODY}), 422, "invalid_spec", "/predictions")
    assert_problem(send(client, whole, "{"), 400, "invalid_json")
    assert_problem(send(client, whole, other=("other", b"x")), 400, "invalid_form")
    assert_problem(client.post(ROUTE, data={"training": "{}"}), 400, "invalid_form")
    assert_problem(client.post(ROUTE, content=b"no form"), 400, "invalid_form")
    assert_problem(client.post(ROUTE, content=b"x" * (70 * 1024 * 1024)), 413, "body_too_large")


def test_strangers_are_refused(client):
    client.headers["Authorization"] = "Bearer ho_none_none"
    assert_problem(send(client, b"x"), 401, "unauthenticated")
