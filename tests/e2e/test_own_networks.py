"""A user's own network is cured end to end: trained, diagnosed, compared and taken back to Keras."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from heldout.client.client import Client
from models.bundled import BUNDLED
from tests.e2e.running import ROOT, Service
from tests.written_networks import make_digit_resnet
from worker.training.model_files.keras_parts import iterate_parts

# A network memorizes this few images.
TRAINING = {"epochs": 20, "batch_size": 8, "train_limit": 200, "seed": 1}
RATE = 0.002


def make_network(width: int = 16) -> keras.Model:
    """Make a network that a user may have written for digits, with probabilities at the end."""
    images = keras.Input((28, 28, 1))
    maps = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(images)
    maps = layers.Add()([maps, layers.Conv2D(width, 3, padding="same", activation="relu")(maps)])
    features = layers.Dense(8 * width, activation="relu")(layers.Flatten()(layers.MaxPooling2D(2)(maps)))
    return keras.Model(images, layers.Dense(10, activation="softmax")(features), name="mine")


def list_filters(configuration: str) -> list[int]:
    parts = iterate_parts(json.loads(configuration))
    return [part["config"]["filters"] for part in parts if part["class_name"] == "Conv2D"]


# Every run trains one as the page docs/how-to/own-network.md says, and tests/api/routes/studies/ orders its studies.
@pytest.mark.proof
@pytest.mark.timeout(900)  # six trainings
def test_a_keras_model_is_trained_diagnosed_cured_and_taken_back(service: Service, client: Client, tmp_path: Path):
    network = make_network()
    network.compile(keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    job = client.train(network, dataset="mnist5k", width=0.5, **TRAINING).wait()
    assert (job.status, job.parameters) == ("succeeded", make_network(8).count_params()), job.error
    assert job.diagnosis().verdict in {"overfitting", "too_little_data"}

    # A client that posts the spec itself gets the same training.
    spec = {
        "name": job.name,
        "dataset": "mnist5k",
        "network": {"model": job.spec.network.model, "width": 0.5},
        "training": TRAINING | {"optimizer": {"name": "adam", "learning_rate": RATE}},
    }
    posted = client.jobs.create(spec)
    client.jobs.cancel(posted.id)
    assert posted.spec.network == job.spec.network
    # A worker has chosen the job's precision meanwhile.
    assert posted.spec.training.model_copy(update={"precision": job.spec.training.precision}) == job.spec.training

    study = job.cure("augmentation", seeds=2, splits="fixed", extent="full", budget={"jobs": 5})
    assert study.conclusion is not None, study.error
    assert (study.conclusion.kind, study.conclusion.remedy) == ("cure", "augmentation")
    [_, winner] = study.arms
    assert winner.patch["augmentation"]["rotation_degrees"] > 0
    report = client.studies.report(study.id)
    assert report.winning_spec is not None
    assert report.winning_spec.augmentation is not None
    assert report.winning_spec.network == job.spec.network
    [_, cured] = report.arms
    assert cured.changes[0].startswith("augmentation: null → ")
    study.save_report(tmp_path / "report.html")
    assert "Change training images at random: none → rotation degrees: " in (tmp_path / "report.html").read_text()

    file, configuration = tmp_path / "cured.keras", tmp_path / "cured.json"
    client.jobs.download_model(winner.jobs[0], file)
    client.jobs.download_model(winner.jobs[0], configuration, "keras_config")
    again, exported = keras.models.model_from_json(configuration.read_text()), keras.saving.load_model(file)
    assert list_filters(configuration.read_text()) == [8, 8]
    again.set_weights(exported.get_weights())
    digits = BUNDLED["mnist5k"].read(Path("/nonexistent"))
    images = np.asarray(digits.images[digits.splits["test"]], np.float32)
    np.testing.assert_allclose(again(images / 255), exported(images), atol=1e-5)
    command = [sys.executable, "-m", "heldout", "export", job.id, "--format", "keras_config", "-o", str(configuration)]
    subprocess.run([*command, "--home", str(service.home)], cwd=ROOT, check=True)
    assert list_filters(configuration.read_text()) == [8, 8]


@pytest.mark.proof
@pytest.mark.timeout(900)  # three trainings
def test_a_resnet_whose_averages_lag_behind_is_named_and_cured(client: Client, tmp_path: Path):
    network = make_digit_resnet()
    network.compile("adam", "sparse_categorical_crossentropy")
    asked = {"dataset": "mnist5k", "epochs": 4, "batch_size": 64, "seed": 1}
    spoiled = client.train(network, **asked).wait()
    last = client.jobs.metrics(spoiled.id).epochs[-1]
    assert last.fit_accuracy > 0.9
    assert last.validation_accuracy < 0.5
    diagnosis = spoiled.diagnosis()
    assert diagnosis.verdict == "evaluation_lags"
    [finding] = [found for found in diagnosis.findings if found.code == "evaluation_lags"]
    patches = {remedy.name: remedy.patch for remedy in finding.remedies}
    assert patches["recount_batch_norm"] == {"evaluation": {"recount_batch_norm": True}}
    digits = BUNDLED["mnist5k"].read(Path("/nonexistent"))
    images = np.asarray(digits.images[digits.splits["test"]], np.float32)
    for name, least in (("recount_batch_norm", 0.9), ("batch_norm_momentum", 0.7)):
        cured = client.jobs.retry(spoiled.id, remedy=name).wait()
        final = client.jobs.metrics(cured.id).final
        assert final is not None
        assert final.test is not None
        assert final.test.accuracy > least
        client.jobs.download_model(cured.id, file := tmp_path / f"{name}.keras")
        answers = keras.saving.load_model(file).predict(images, verbose=0).argmax(axis=1)
        assert np.mean(answers == digits.labels[digits.splits["test"]]) == pytest.approx(final.test.accuracy)
        assert name != "recount_batch_norm" or cured.diagnosis().verdict != "evaluation_lags"
