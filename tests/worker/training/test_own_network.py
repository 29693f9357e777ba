"""An uploaded Keras model as a job's whole network: planned, built and trained as in plain Keras."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from analysis.arrays.dataset import ImageSet
from heldout.errors import InvalidSpec
from heldout.spec.backbone import make_own_network
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network
from heldout.spec.model_facts import ModelFacts
from heldout.spec.network import OwnNetworkSpec
from heldout.stored.artifacts import ArtifactName
from tests.worker.training import own_zoo
from tests.worker.training.backbones import read_again, taken_apart
from tests.worker.training.processes import assert_resumes_exactly, get_path
from tests.worker.training.trainings import assert_gives_served_figures, fewer, fit_in_same_order
from worker.messages import Finished
from worker.training.networks.network import build_network
from worker.training.uploaded_models.child import read_facts

SEED, EPOCHS, IMAGES = 7, 2, 372
DIGIT = (28, 28, 1)
UNIT = np.random.default_rng(1).random((3, *own_zoo.IMAGE)).astype(np.float32)


def make_digit_network(classes: int = 10) -> keras.Model:
    """Make a network as users write it: with a branch, averages, dropout, a penalty, and probabilities."""
    images = keras.Input(DIGIT)
    maps = keras.layers.Conv2D(4, 3, padding="same", activation="relu", kernel_regularizer="l2")(images)
    deep = keras.layers.BatchNormalization()(keras.layers.DepthwiseConv2D(3, padding="same")(maps))
    maps = keras.layers.MaxPooling2D(4)(keras.layers.Add()([maps, deep]))
    features = keras.layers.Dropout(0.3)(keras.layers.Flatten()(maps))
    return keras.Model(images, keras.layers.Dense(classes, activation="softmax")(features))


@pytest.fixture(scope="module")
def digit_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make_digit_network(), tmp_path_factory.mktemp("uploaded"))


def save(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "mine.keras")
    return folder / "mine.keras"


def own(**fields) -> OwnNetworkSpec:
    return OwnNetworkSpec(model="mod_1", **fields)


def spec_with(training: dict | None = None, **fields) -> JobSpec:
    training = {"epochs": EPOCHS, "batch_size": 32, "seed": SEED, **(training or {})}
    return JobSpec.model_validate(
        {"name": "own", "dataset": "digits", "network": {"model": "mod_1", **fields}, "training": training}
    )


def build(network: OwnNetworkSpec, file: Path, image=own_zoo.IMAGE, classes=own_zoo.CLASSES, seed=SEED, pixels="unit"):
    return build_network(network, image, classes, seed, backbone=read_again(file, pixels))


def store(facts: ModelFacts) -> ModelFacts:
    return ModelFacts.from_columns(*facts.to_columns())


@pytest.mark.parametrize("kind", own_zoo.each_of())
def test_a_users_network_is_planned_and_built_as_keras_counts_it_and_keeps_its_answers(tmp_path, kind):
    keras.utils.set_random_seed(3)
    theirs = own_zoo.ZOO[kind]()
    file = save(theirs, tmp_path)
    facts = read_facts(file)
    scales = facts.network.scales_pixels
    backbone = read_again(file, "bytes" if scales else "unit")
    for changes in ({}, {"weights": "uploaded", "freeze": 4}):
        network = own(**changes)
        own_network, layers = make_own_network(network, store(facts), own_zoo.IMAGE, own_zoo.CLASSES)
        plan = plan_network(network, own_zoo.IMAGE, own_zoo.CLASSES, own_network)
        ours = build_network(network, own_zoo.IMAGE, own_zoo.CLASSES, SEED, backbone=backbone)
        assert plan.parameters == ours.count_params() == sum(layer.parameters for layer in layers)
        assert plan.trainable_parameters() == sum(np.prod(weight.shape) for weight in ours.trainable_weights)
        assert plan.layers[-1].shape == ours.output_shape[1:]
    # The last network has the uploaded weights.
    logits, answers = ours(UNIT), theirs(UNIT * 255 if scales else UNIT)
    gives_shares = np.allclose(np.sum(answers, axis=-1), 1)
    np.testing.assert_allclose(keras.ops.softmax(logits) if gives_shares else logits, answers, rtol=1e-4, atol=1e-5)


def test_fresh_weights_depend_only_on_the_seed(digit_file):
    first, again, other = (build(own(), digit_file, DIGIT, 10, seed).get_weights() for seed in (SEED, SEED, SEED + 1))
    assert all(map(np.array_equal, first, again))
    drawn = [not np.array_equal(a, b) for a, b in zip(first, other, strict=True) if a.std() > 0]
    assert drawn
    assert all(drawn)
    uploaded = keras.saving.load_model(digit_file).get_weights()
    assert not any(np.array_equal(a, b) for a, b in zip(first, uploaded, strict=True) if a.std() > 0)


@pytest.mark.parametrize("make", [own_zoo.make_ops, own_zoo.make_nested], ids=lambda make: make.__name__)
def test_a_replaced_head_is_planned_as_it_is_built_and_is_the_only_trained_part(tmp_path, make):
    network, file = own(head="replace", weights="uploaded", trainable=False), save(make(), tmp_path)
    own_network, _ = make_own_network(network, read_facts(file), own_zoo.IMAGE, 3)
    model = build(network, file, classes=3)
    assert (model.output_shape, model.count_params()) == ((None, 3), own_network.parameters)
    trained = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert trained == own_network.trainable_parameters < own_network.parameters


@pytest.mark.parametrize(
    ("fields", "classes", "message"),
    [
        ({}, 3, r"/network/head: .* has 10 classes, but the dataset has 3.*replace"),
        ({"weights": "uploaded", "freeze": "none"}, 10, "/network/freeze: .* no layer `none`. Its first layers are"),
        ({"weights": "uploaded", "trainable": False}, 10, "/network/trainable: Nothing would be trained"),
    ],
)
def test_unfit_fields_are_refused_by_name(digit_file, fields, classes, message):
    with pytest.raises(InvalidSpec, match=message):
        make_own_network(own(**fields), read_facts(digit_file), DIGIT, classes)


def test_images_of_another_size_and_channel_are_converted(tmp_path):
    file = save(own_zoo.make_mobilenet(), tmp_path)
    model = build(own(weights="uploaded"), file, (9, 11, 1), pixels="bytes")
    gray = np.random.default_rng(2).random((2, 9, 11, 1)).astype(np.float32)
    resized = keras.ops.image.resize(np.repeat(gray, 3, axis=-1) * 255, own_zoo.IMAGE[:2])
    answers = keras.saving.load_model(file)(resized)
    np.testing.assert_allclose(keras.ops.softmax(model(gray)), answers, atol=1e-5)


def train_in_plain_keras(file: Path, images: ImageSet, spec: JobSpec) -> tuple[keras.Model, list[float]]:
    """Train the file itself by `fit` in the engine's order, from the engine's initial weights."""
    ours = build(spec.network, file, DIGIT, 10)
    theirs = keras.saving.load_model(file, compile=False)
    theirs.layers[-1].activation = keras.activations.linear
    for own_variable, other in zip(theirs.variables, ours.variables, strict=True):
        own_variable.assign(other)
    return theirs, fit_in_same_order(theirs, images, spec)


@pytest.mark.usefixtures("forking")
def test_a_training_of_a_users_network_equals_one_in_plain_keras(start, digit_file, mnist5k):
    """The network's own penalty is part of the objective and of no measured loss."""
    spec = spec_with()
    process = start(spec, backbone=taken_apart(digit_file, "unit"), cores=1)
    finished = process.end()
    assert isinstance(finished, Finished), process.log.read_text()
    network, losses = train_in_plain_keras(digit_file, fewer(mnist5k, IMAGES), spec)
    assert [done["fit_loss"] for done in process.history] == pytest.approx(losses, rel=1e-6)
    model = keras.saving.load_model(get_path(finished, ArtifactName.MODEL), safe_mode=True)
    for ours, expected in zip(model.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert_gives_served_figures(model, fewer(mnist5k, IMAGES), finished.final.test)


@pytest.mark.proof
@pytest.mark.usefixtures("forking")
def test_an_interrupted_training_of_a_users_network_continues_bit_for_bit(start, digit_file):
    """The network is changed, its weights are averaged, and it has dropout, whose state must continue too."""
    spec = spec_with({"epochs": 3, "ema_decay": 0.9}, dropout=0.2, l2=0.001)
    assert_resumes_exactly(start, spec, taken_apart(digit_file, "unit"))


def test_a_seed_in_the_file_does_not_decide_the_weights(tmp_path):
    images = keras.Input(DIGIT)
    features = keras.layers.Flatten()(images)
    drawn = keras.initializers.GlorotUniform(seed=1)
    file = save(keras.Model(images, keras.layers.Dense(10, kernel_initializer=drawn)(features)), tmp_path)
    assert json.loads((Path(taken_apart(file).folder) / "layers.json").read_text())
    first, other = (build(own(), file, DIGIT, 10, seed).get_weights()[0] for seed in (1, 2))
    assert not np.array_equal(first, other)
