"""A job's epochs in Keras' form, compared with what Keras itself records for the same figures."""

import json

import httpx2
import keras
import pytest

from tests.heldout.served import SPEC

# Keras logs `learning_rate` if a schedule changes it.
EPOCHS = [
    {"loss": 0.91, "accuracy": 0.7, "val_loss": 1.05, "val_accuracy": 0.68, "learning_rate": 0.001},
    {"loss": 0.4, "accuracy": 0.875, "val_loss": 0.97, "val_accuracy": 0.71, "learning_rate": 0.0005},
    {"loss": float("nan"), "accuracy": 0.1, "val_loss": float("nan"), "val_accuracy": 0.1, "learning_rate": 0.00025},
]
OURS = {"loss": "fit_loss", "accuracy": "fit_accuracy", "val_loss": "validation_loss"} | {
    "val_accuracy": "validation_accuracy",
    "learning_rate": "learning_rate",
}


@pytest.fixture
def job(service, client):
    """A job with the figures of EPOCHS."""
    job_id = client.jobs.create({**SPEC, "training": {"epochs": 3}}).id
    held = service.begin(job_id)
    for number, logs in enumerate(EPOCHS, 1):
        service.measure(held, number, **{OURS[name]: value for name, value in logs.items()})
    service.fail(held)
    return job_id


@pytest.fixture
def ask(service):
    """Request metrics and return the response."""

    def get(job_id, query):
        with httpx2.Client(base_url=service.url, headers={"Authorization": f"Bearer {service.key}"}) as http:
            return http.get(f"/v1/jobs/{job_id}/metrics?{query}")

    return get


def test_the_history_equals_what_keras_records_for_the_same_figures(job, ask, heldout):
    recorded = keras.callbacks.History()
    recorded.on_train_begin()
    recorded.set_model(keras.Sequential())
    for number, logs in enumerate(EPOCHS):
        recorded.on_epoch_end(number, logs)
    expected = json.loads(json.dumps(recorded.history).replace("NaN", "null"))
    answer = ask(job, "format=keras")
    assert answer.json() == expected
    assert answer.headers["content-type"] == "application/vnd.heldout.history+json"
    assert json.loads(heldout("metrics", job, "--format", "keras").stdout) == expected


def test_the_table_equals_what_keras_csv_logger_writes(job, ask, heldout, tmp_path):
    logger = keras.callbacks.CSVLogger(str(tmp_path / "keras.csv"))
    logger.on_train_begin()
    for number, logs in enumerate(EPOCHS):
        logger.on_epoch_end(number, logs)
    logger.on_train_end()
    expected = (tmp_path / "keras.csv").read_text()
    answer = ask(job, "format=csv")
    assert answer.text == expected
    assert answer.headers["content-type"].startswith("text/csv")
    assert heldout("metrics", job, "--format", "csv").stdout == expected


def test_curves_that_were_not_measured_are_absent(service, client, ask):
    job_id = client.jobs.create(SPEC).id
    service.measure(service.begin(job_id), 1, validation_loss=None, validation_accuracy=None)
    assert list(ask(job_id, "format=keras").json()) == ["loss", "accuracy", "learning_rate"]
    assert ask(job_id, "format=csv").text.splitlines()[0] == "epoch,accuracy,learning_rate,loss"


def test_a_saved_history_has_the_best_epoch_of_its_job(ended, heldout, tmp_path):
    for format_, name in (("keras", "history.json"), ("csv", "history.csv")):
        (tmp_path / name).write_text(heldout("metrics", ended, "--format", format_).stdout)
        read = json.loads(heldout("diagnose", name, "--json").stdout)
        assert read["best_epoch"] == json.loads(heldout("diagnose", ended, "--json").stdout)["best_epoch"]


def test_a_thinned_history_in_keras_form_is_refused(ended, ask):
    answer = ask(ended, "format=keras&points=10")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert "Omit `points`" in answer.json()["detail"]
