"""Uploaded models: which outputs are accepted, and how the preprocessing of a model is found."""

from pathlib import Path

import keras
import numpy as np
import pytest

from analysis.answers.answers import Answers, Predictions
from tests.onnx_files import dense_onnx
from tests.worker.training.trainings import Training, fewer, small_spec
from worker.training.model_files.refusal import ModelRefused
from worker.training.uploaded_models.child import read_facts
from worker.training.uploaded_models.keras_model import KerasAnswers
from worker.training.uploaded_models.measure import UploadedModel, choose_preprocessing, list_candidates, prepare_images


def save(model: keras.Model, folder: Path) -> Path:
    file = folder / "model.keras"
    model.save(file)
    return file


def make_small(*layers) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


def refuse(file: Path) -> str:
    with pytest.raises(ModelRefused) as refused:
        read_facts(file)
    assert refused.value.detail
    assert str(file.parent) not in refused.value.detail  # the path is private
    assert "/onnxruntime_src/" not in refused.value.detail
    return refused.value.code.value


def test_files_that_are_not_image_classifiers_are_refused(tmp_path):
    words = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    assert refuse(save(words, tmp_path)) == "not_for_images"
    images = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(images)
    two = keras.Model(images, [keras.layers.Dense(2)(flat), keras.layers.Dense(3)(flat)])
    assert refuse(save(two, tmp_path)) == "unfit_output"
    number = save(make_small(keras.layers.Flatten(), keras.layers.Dense(1)), tmp_path)
    assert refuse(number) == "unfit_output", "a regression is not a choice between two classes"
    binary = save(make_small(keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")), tmp_path)
    assert read_facts(binary).classes == 2
    whole = save(make_small(keras.layers.Flatten(), keras.layers.Dense(2)), tmp_path).read_bytes()
    for content, code in (
        (whole[: len(whole) // 2], "model_damaged"),
        (b"\x89HDF\r\n\x1a\n", "old_format"),
        (b"GIF89a", "not_a_model"),
        (b"", "not_a_model"),
        (b"\x08\x0a", "model_damaged"),  # a single field of ONNX
    ):
        (tmp_path / "file").write_bytes(content)
        assert refuse(tmp_path / "file") == code


def test_a_model_that_gives_a_feature_map_is_recognized(tmp_path):
    facts = read_facts(save(make_small(keras.layers.Conv2D(4, 3)), tmp_path))
    assert (facts.gives, facts.output_shape, facts.classes) == ("feature_map", (6, 6, 4), None)
    assert [(layer.shape, layer.parameters) for layer in facts.feature_map.layers] == [((6, 6, 4), 112)]
    assert not facts.feature_map.scales_pixels
    inner = make_small(keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization())
    nested = make_small(inner, keras.layers.ReLU())
    nested.trainable = False
    found = read_facts(save(nested, tmp_path)).feature_map
    assert (found.scales_pixels, found.trainable_parameters, len(found.layers)) == (True, 112 + 8, 4)
    assert (found.largest, found.values) == (192, 192 + 3 * 144)
    any_size = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)])
    assert read_facts(save(any_size, tmp_path)).feature_map.figures_at == (224, 224)
    with_channels_first = tmp_path / "first.onnx"
    with_channels_first.write_bytes(dense_onnx(np.ones((192, 2)), np.ones(2), image=(3, 8, 8)))
    facts = read_facts(with_channels_first)
    assert (facts.channels_first, facts.input_shape, facts.output_shape) == (True, (8, 8, 3), (2,))


def test_an_onnx_model_that_gives_one_number_is_refused_when_it_is_measured(digits):
    training = Training(small_spec({"filters": 2}), fewer(digits, 40))
    model = UploadedModel(lambda pixels: pixels.sum(axis=(1, 2))[:, :1], training.resident, training.data)
    with pytest.raises(ModelRefused, match=r"not regression.* end it with a sigmoid"):
        model.predict_all()


@pytest.mark.parametrize("end", ["dense", "layer", "activation"])
def test_logits_are_read_from_a_model_that_ends_in_a_softmax(tmp_path, end):
    flat, dense = keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax" if end == "dense" else None)
    last = {"dense": [], "layer": [keras.layers.Softmax()], "activation": [keras.layers.Activation("softmax")]}[end]
    model = make_small(flat, dense, *last)
    answers = KerasAnswers(save(model, tmp_path))
    images = np.random.default_rng(1).random((4, 8, 8, 3), np.float32)
    assert answers.gives_logits
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(answers(images)))
    assert probabilities == pytest.approx(model.predict(images, verbose=0), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "is_reversed", "of_training"),
    [
        (None, False, lambda images: images),
        ("unit", False, lambda images: images / 255),
        ("symmetric", False, lambda images: images / 127.5 - 1),
        ("as_given", True, lambda images: images[..., ::-1]),
        ("unit", True, lambda images: images[..., ::-1] / 255),
        ("inverted", False, lambda images: 255 - images),
    ],
)
def test_the_preprocessing_of_the_training_is_found(kind, is_reversed, of_training):
    """The brightness of the first channel gives the class. The model chooses the nearest mean color of training."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 600).astype(np.int32)
    images = rng.integers(0, 90, (600, 4, 4, 3)).astype(np.float32)
    images[np.arange(600), :, :, 0] += 40 * labels[:, None, None]
    seen = of_training(images).mean(axis=(1, 2))
    means = np.stack([seen[labels == label].mean(axis=0) for label in range(3)])
    spread = seen.std()

    def answers_under(change):
        found = prepare_images(images, change).mean(axis=(1, 2))
        logits = -(((found[:, None] - means) / spread) ** 2).sum(axis=2)
        logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        losses = -logs[np.arange(len(labels)), labels].astype(np.float32)
        return Answers.to(labels, Predictions(np.exp(logs).astype(np.float32), losses))

    found = choose_preprocessing(labels, answers_under, list_candidates((0, 255), images))
    assert (found and found.kind, bool(found and found.reversed_channels)) == (kind, is_reversed)


def test_a_network_that_has_learned_nothing_does_not_seem_to_expect_other_pixels():
    """Smaller pixels give smaller logits, and so a smaller loss, for random weights too."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 10, 800).astype(np.int32)
    images = rng.integers(0, 256, (800, 6, 6, 1)).astype(np.float32)
    weights = rng.normal(0, 0.2, (36, 10))

    def answers_under(change):
        logits = prepare_images(images, change).reshape(800, 36) @ weights
        logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        losses = -logs[np.arange(len(labels)), labels].astype(np.float32)
        return Answers.to(labels, Predictions(np.exp(logs).astype(np.float32), losses))

    assert choose_preprocessing(labels, answers_under, list_candidates((0, 255), images)) is None
