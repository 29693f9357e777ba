"""A network that answers by a corner is found by exchanging corners, if a column gives a reason to."""

import base64
import io
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from analysis.answers.groups import measure_groups
from analysis.arrays.dataset import ImageSet
from heldout.diagnosis import diagnose
from heldout.diagnosis.evaluation import build_from_final
from heldout.diagnosis.history import History
from heldout.documents.blocks import Document
from heldout.documents.diagnosis import build_diagnosis
from heldout.documents.html import render_page
from heldout.stored.artifacts import ArtifactName
from heldout.stored.evaluation import StoredEvaluation
from heldout.views.diagnosis import DiagnosisView
from tests.worker.training.processes import folder_of, get_path
from tests.worker.training.trainings import small_spec
from worker.training.data.training_data import ResidentData, take_images
from worker.training.measuring import shortcuts
from worker.training.measuring.evaluate import build_evaluation
from worker.training.measuring.predictor import Predictor
from worker.training.measuring.shortcuts import measure_interventions

SPLITS = {"train": np.arange(160), "validation": np.arange(160, 200), "test": np.arange(200, 400)}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    """Dark images whose top left corner is light for one of two classes."""
    draw = np.random.default_rng(0)
    pixels, labels = draw.integers(0, 60, (400, 12, 12, 1), np.uint8), draw.integers(0, 2, 400).astype(np.int32)
    pixels[labels == 1, :3, :3] = 255
    return ImageSet(pixels, labels, SPLITS, ("cat", "dog"), (0.0, 255.0))


def build_corner_network() -> keras.Model:
    inputs = keras.Input((12, 12, 1))
    logits = keras.layers.Dense(2)(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, keras.layers.Softmax(name="probabilities")(logits))
    weights = np.zeros((12, 12, 2), np.float32)
    weights[:3, :3] = (-0.01, 0.01)
    network.set_weights([weights.reshape(-1, 2), np.array([9.0, -9.0], np.float32)])
    return network


def decode(address: str) -> np.ndarray:
    head, content = address.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@pytest.mark.parametrize("follows", [True, False])
def test_corners_are_exchanged_only_if_a_column_predicts_the_label(images, follows, monkeypatch):
    data = take_images(images, SPLITS)
    predictor = Predictor(build_corner_network(), ResidentData(data), (0.0, 255.0))
    predictions = {split: predictor.predict(rows) for split, rows in data.rows.items()}
    values = images.labels if follows else np.random.default_rng(1).integers(0, 2, 400)
    answers = {split: data.make_answers(split, own) for split, own in predictions.items()}
    columns = measure_groups({"camera": [f"c{value}" for value in values]}, answers, data.source)
    tried = measure_interventions(predictor, data, predictions, columns)
    probabilities = {split: own.probabilities for split, own in predictions.items()}
    stored = build_evaluation(data, probabilities, columns=columns, interventions=tried).splits["test"]
    if not follows:
        assert stored.interventions == ()
        return
    corner = max(stored.interventions, key=lambda each: each.points)
    assert (corner.what, corner.right, corner.right_changed) == ("top left corner", 200, 0)
    assert corner.is_confirmed
    assert set(corner.changed) <= set(range(200, 400))
    monkeypatch.setattr(shortcuts, "MAX_BYTES", 50 * 12 * 12 * 4)
    fewer = measure_interventions(predictor, data, predictions, columns)["test"]
    assert {each.count for each in fewer} == {50}, "large images are bounded by their bytes"


@pytest.fixture(scope="module")
def dataset(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(images, tmp_path_factory)


def test_a_training_that_learns_a_corner_is_told_so_by_its_diagnosis(start, images):
    draw = np.random.default_rng(2)
    columns = {"camera": [f"c{label}" for label in images.labels], "day": draw.integers(0, 3, 400).astype(str).tolist()}
    training = {"epochs": 4, "optimizer": {"learning_rate": 0.02}}
    finished = start(small_spec(training=training), columns=columns).end()
    stored = StoredEvaluation.model_validate_json(get_path(finished, ArtifactName.EVALUATION).read_bytes())
    found = diagnose(History(), None, build_from_final(finished.final, images.classes, stored))
    [shortcut] = [finding for finding in found.findings if finding.code == "shortcut_suspected"]
    assert (shortcut.severity, shortcut.evidence["column"]) == ("warning", "camera")
    assert shortcut.evidence["what"] == "top left corner"
    page = render_page(Document("Diagnosis", build_diagnosis(DiagnosisView.of(found))))
    assert page.count("data:image/png") == 3 * len(shortcut.evidence["pictures"]), "also where nothing can be loaded"
    indices, pictures = shortcut.evidence["images"], shortcut.evidence["pictures"]
    assert 0 < len(indices) == len(pictures)
    for index, picture in zip(indices, pictures, strict=True):
        before, exchanged, control = (decode(picture[name]) for name in ("before", "exchanged", "control"))
        assert np.array_equal(before, images.images[index, ..., 0].repeat(5, axis=0).repeat(5, axis=1))
        assert (before[:15, :15].min() == 255) == (picture["label"] == "dog")
        assert (exchanged[:15, :15].min() == 255) == (picture["other"] == "dog") == (picture["label"] == "cat")
        assert (control[:15, :15].min() == 255) == (picture["label"] == "dog")
        assert picture["answer"] != picture["label"] == images.classes[images.labels[index]]
    assert {column.name: column.right_by_column for column in stored.splits["test"].columns}["camera"] == 200
