"""The layers of a network say what looks wrong before it is trained, and ordinary networks get no note."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers, ops

from benchmarks.own_network_kinds import KINDS, VARIANTS
from heldout.network_check.catalogue import CHECKS, check_network
from heldout.network_check.checked import Checked, Note
from heldout.network_check.described import check_job
from heldout.spec.job import JobSpec
from tests.worker.training.trainings import load_example
from tests.written_networks import make_augmented, make_digit_resnet
from worker.training.uploaded_models.description import describe_network

ROOT = Path(__file__).parents[2]
IMAGE, TRAIN_IMAGES = (32, 32, 3), 10_000
CONV = {"filters": 8, "kernel_size": 3, "padding": "same", "activation": "relu"}


def check(model: keras.Model, train_images: int = TRAIN_IMAGES, loss: Any = "", **parts: Any) -> list[Note]:
    """Return the notes about a job that trains this network, with parts of its spec."""
    image = model.input_shape[1:]
    facts = describe_network(model, image[:2]).model_copy(update={"compiled_loss": loss, "takes_logits": False})
    body = {"dataset": "d", "network": {"model": "mod_1"}, "training": {"epochs": 10}}
    body |= {name: body.get(name, {}) | part for name, part in parts.items()}
    notes = check_job(JobSpec.model_validate(body), facts, image, model.output_shape[-1], train_images)
    assert notes is not None
    return notes


def conv(**settings: Any) -> keras.layers.Layer:
    return layers.Conv2D(**(CONV | settings))


def chain(*parts: Any) -> keras.Model:
    return keras.Sequential([keras.Input(IMAGE), *parts])


def end(**settings: Any) -> list[Any]:
    return [layers.Flatten(), layers.Dense(5, **settings)]


def make_without_gradient() -> keras.Model:
    images = keras.Input(IMAGE)
    maps = ops.stop_gradient(conv(name="cut")(images))
    return keras.Model(images, layers.Dense(5)(layers.Flatten()(maps)))


def make_long_end() -> keras.Model:
    return chain(*(conv(strides=2) for _ in range(4)), *(conv() for _ in range(9)), *end())


FAULTS: list[tuple[str, Callable[[], keras.Model]]] = [
    ("output", lambda: chain(conv(), *end(activation="relu"))),
    ("output", lambda: chain(conv(), *end(), layers.ReLU())),
    ("output", lambda: chain(conv(), *end(), layers.Dropout(0.2))),
    ("probabilities", lambda: chain(conv(), *end(activation="softmax"), layers.Softmax())),
    ("probabilities", lambda: chain(conv(), layers.Flatten(), layers.Dense(9, activation="softmax"), layers.Dense(5))),
    ("activations", lambda: chain(conv(activation=None), conv(), *end())),
    ("activations", lambda: chain(conv(), layers.Flatten(), layers.Dense(9), layers.Dense(5))),
    ("saturation", lambda: chain(*(conv(activation="sigmoid") for _ in range(4)), *end())),
    ("equal_weights", lambda: chain(conv(kernel_initializer="zeros"), *end())),
    ("equal_weights", lambda: chain(conv(kernel_initializer=keras.initializers.Constant(0.1)), *end())),
    ("large_weights", lambda: chain(conv(kernel_initializer=keras.initializers.RandomNormal(stddev=3)), *end())),
    ("small_weights", lambda: chain(conv(kernel_initializer=keras.initializers.RandomNormal(stddev=1e-4)), *end())),
    ("dropout", lambda: chain(conv(), layers.Dropout(0.9), *end())),
    ("dropout_by_norm", lambda: chain(conv(), layers.Dropout(0.2), layers.BatchNormalization(), *end())),
    ("dropout_by_norm", lambda: chain(*[conv(), layers.BatchNormalization(), layers.Dropout(0.2)] * 1, conv(),
                                      layers.BatchNormalization(), *end())),
    ("frozen", lambda: chain(conv(trainable=False), *end())),
    ("gradients", make_without_gradient),
    ("tiny_maps", lambda: chain(*(conv(strides=3) for _ in range(6)), *end())),
    ("skipped_pixels", lambda: chain(conv(strides=5), *end())),
    ("small_field", lambda: chain(conv(), layers.GlobalAveragePooling2D(), layers.Dense(5))),
    ("large_field", make_long_end),
    ("pixels", lambda: chain(layers.Rescaling(1 / 255), layers.Rescaling(1 / 255), conv(), *end())),
    ("penalties", lambda: chain(conv(kernel_regularizer=keras.regularizers.L2(1)), *end())),
    ("penalties", lambda: chain(conv(kernel_regularizer=keras.regularizers.L1(1)), *end())),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make"), FAULTS)
def test_each_fault_of_layers_is_noted(name, make):
    assert name in {note.check for note in check(make())}


def test_faults_against_the_spec_are_noted():
    normed = chain(conv(), layers.BatchNormalization(), *end())
    assert {note.check for note in check(normed, train_images=1000)} == {"momentum"}
    for cured in ({"training": {"batch_norm": {"momentum": 0.9}}}, {"evaluation": {"recount_batch_norm": True}}):
        assert check(normed, train_images=1000, **cured) == []
    assert {note.check for note in check(chain(conv(), *end()), network={"pixels": "bytes"})} == {"pixels"}
    scaling = chain(layers.Rescaling(1 / 255), conv(), *end())
    assert {note.check for note in check(scaling, network={"pixels": "unit"})} == {"pixels"}
    assert {note.check for note in check(chain(conv(), *end()), network={"l2": 1.0})} == {"penalties"}
    assert {note.check for note in check(chain(conv(), *end()), network={"dropout": 0.8})} == {"dropout"}
    for loss, model in (("mse", end()), ("binary_crossentropy", end(activation="softmax")),
                        ("sparse_categorical_crossentropy", end())):  # fmt: skip
        assert {note.check for note in check(chain(conv(), *model), loss=loss)} == {"loss"}
    assert check(chain(conv(), *end(activation="softmax")), loss="sparse_categorical_crossentropy") == []


def test_every_check_notes_a_fault_and_is_on_the_page():
    assert {name for name, _ in FAULTS} | {"momentum", "loss"} == CHECKS.keys()
    page = (ROOT / "docs" / "how-to" / "own-network.md").read_text()
    for check in CHECKS.values():
        assert f"| {check.title} | {check.about} |" in page


ORDINARY = {
    "written chain": make_augmented,
    "written ResNet": make_digit_resnet,
    **{name: (KINDS | VARIANTS)[name].build for name in ("Inception", "squeeze and excitation")},
}
LARGE = [name for name in KINDS | VARIANTS if name not in ORDINARY]


def require_no_note(model: keras.Model) -> None:
    classes = model.output_shape[-1]
    facts = describe_network(model, model.input_shape[1:3])
    assert facts.outline, "it was checked"
    assert check_network(Checked(facts.outline, facts, model.input_shape[1:], classes)) == []
    assert check(model, train_images=10**6) == []


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_networks_get_no_note(name):
    require_no_note(ORDINARY[name]())


@pytest.mark.proof
@pytest.mark.parametrize("name", LARGE)
def test_other_ordinary_networks_get_no_note(name):
    require_no_note((KINDS | VARIANTS)[name].build())


def test_layers_that_are_frozen_on_purpose_get_no_note():
    model = chain(conv(trainable=False), conv(), *end())
    facts = describe_network(model, IMAGE[:2])
    page = check_network(Checked(facts.outline, facts, IMAGE, 5))
    assert page == [], "its weights may come from other images"
    assert check(model, network={"weights": "uploaded"}) == []
    assert [note.check for note in check(model)] == ["frozen"], "its fresh weights stay as they are"


def test_described_networks_are_checked_in_the_same_way():
    def check_spec(spec: JobSpec, train_images: int = TRAIN_IMAGES) -> list[str]:
        notes = check_job(spec, None, (28, 28, 1), 10, train_images)
        return [note.check for note in notes or ()]

    for name in ("overfit", "regularized", "augmented", "resnet20"):
        assert check_spec(load_example(name)) == []
    normed = load_example("resnet20", epochs=2)
    assert check_spec(normed, 1000) == ["momentum"]
    backbone = JobSpec.model_validate(
        {"dataset": "d", "network": {"backbone": {"model": "mod_1"}, "blocks": []}, "training": {}}
    )
    assert check_job(backbone, None, IMAGE, 5, 100) is None, "a backbone's layers are not known"
    block = {"filters": 8, "padding": "same", "pool": 1}
    faults = {
        "tiny_maps": {"blocks": [block | {"strides": 4}] * 6},
        "skipped_pixels": {"blocks": [block | {"kernel_size": 1, "strides": 2}]},
        "small_field": {"blocks": [block], "head": "global_average"},
        "large_field": {"blocks": [block | {"strides": 2}] * 4 + [block] * 6},
        "penalties": {"blocks": [block] * 2, "l2": 1.0},
        "dropout": {"blocks": [block | {"dropout": 0.9}]},
    }
    for name, network in faults.items():
        spec = JobSpec.model_validate({"dataset": "d", "network": network, "training": {}})
        assert name in check_spec(spec), name
