"""Architectures without weights, as `model.to_json()` writes them: what is accepted, and what a refusal advises."""

import inspect
import json
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import worker.training.uploaded_models.keras_model  # noqa: F401 - it sets TensorFlow's threads before they begin
from heldout.errors import InvalidSpec
from heldout.lifecycle.resources import MAX_ARCHITECTURE_BYTES, ModelRejectionCode
from heldout.spec.backbone import make_own_network
from heldout.spec.network import OwnNetworkSpec
from tests.worker.training.hostile_models import layer_of
from worker.training.model_files.keras_config import read_network
from worker.training.model_files.keras_file import build_model, load_model, require_size
from worker.training.model_files.refusal import ModelRefused
from worker.training.uploaded_models.child import read_facts

K = keras.layers
MAX_PARAMETERS = 50_000_000
# Networks of `keras.applications` that are read in every run, with an image size that they take.
APPLICATIONS = {"ConvNeXtTiny": 32, "MobileNetV2": 32, "MobileNetV3Small": 32, "Xception": 75}
OTHERS = {
    name: 75 for name, _ in inspect.getmembers(keras.applications, inspect.isfunction) if name not in APPLICATIONS
}


class Doubled(keras.layers.Layer):
    """A custom layer that computes with TensorFlow."""

    def call(self, images):
        return tf.add(images, images)


def write(folder: Path, content: keras.Model | dict | str | bytes) -> Path:
    file = folder / "model.json"
    text = content.to_json() if isinstance(content, keras.Model) else content
    text = json.dumps(text) if isinstance(text, dict) else text
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def make_chain(*layers: Any, image: tuple = (8, 8, 3)) -> keras.Model:
    return keras.Sequential([keras.Input(image), *layers])


def refuse(file: Path, max_parameters: int = MAX_PARAMETERS) -> ModelRefused:
    with pytest.raises(ModelRefused) as refused:
        read_facts(file, max_parameters)
    assert refused.value.detail.isprintable()
    assert str(file.parent) not in refused.value.detail
    return refused.value


# --- what is accepted -----------------------------------------------------------------------------


def test_an_architecture_is_read_as_the_same_network_without_weights(tmp_path):
    model = make_chain(K.Rescaling(1 / 255), K.Conv2D(4, 3, kernel_regularizer="l2"), K.Flatten(), K.Dense(5))
    facts = read_facts(write(tmp_path, model))
    model.save(tmp_path / "model.keras")
    whole = read_facts(tmp_path / "model.keras")
    assert (facts.weights, whole.weights) == (False, True)
    of_both = {"parameters", "trainable_parameters", "input_shape", "output_shape", "layers", "format"}
    assert facts.model_dump(include=of_both) == whole.model_dump(include=of_both)
    built = load_model(write(tmp_path, model))
    assert json.loads(built.to_json())["config"] == json.loads(model.to_json())["config"]
    assert "no weights" not in (facts.explain_misfit((9, 9, 9), 1) or "")
    assert "architecture without weights" in (facts.explain_misfit((8, 8, 3), 5) or "")


def test_white_space_and_a_byte_order_mark_may_come_first(tmp_path):
    text = make_chain(K.Flatten(), K.Dense(5)).to_json()
    for start in (b" \r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"):
        assert not read_facts(write(tmp_path, start + text.encode())).weights


def list_values(value: Any) -> list[str]:
    """List all values at any depth, except null and the registered names of classes."""
    if isinstance(value, dict):
        value = [inner for name, inner in value.items() if name != "registered_name"]
    if isinstance(value, list):
        return sorted(found for inner in value for found in list_values(inner))
    return [] if value is None else [str(value)]


@pytest.mark.parametrize("name", [*APPLICATIONS, *(pytest.param(name, marks=pytest.mark.proof) for name in OTHERS)])
def test_the_networks_of_keras_applications_are_accepted_unless_they_are_too_large(name):
    size = APPLICATIONS.get(name) or OTHERS[name]
    # Initial values would take most of the time.
    with keras.StatelessScope(initialize_variables=False):
        network = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=5)
        text, parameters = network.to_json(), sum(int(np.prod(weight.shape)) for weight in network.weights)
    keras.utils.clear_session()
    assert len(text) < MAX_ARCHITECTURE_BYTES
    config = json.loads(text)
    read = read_network(config)
    assert list_values(read["config"]) == list_values(config["config"]), "nothing is left out"
    require_size(read, parameters, "")
    with pytest.raises(ModelRefused, match=rf"The model has {parameters:,} parameters.*at most {parameters - 1:,}"):
        require_size(read, parameters - 1, "")


# --- the tables of docs/how-to/models.md -----------------------------------------------------------


def make_two_inputs() -> keras.Model:
    images, more = keras.Input((8, 8, 3)), keras.Input((4,))
    return keras.Model([images, more], K.Dense(2)(K.Concatenate()([K.Flatten()(images), more])))


def make_keras_2_config() -> dict:
    """Return a config as Keras 2 writes it, with an operation of TensorFlow. It cannot be installed next to Keras 3."""
    operation = {"class_name": "TFOpLambda", "config": {"name": "tf.math.multiply", "function": "math.multiply"}}
    network = {"name": "model", "layers": [operation]}
    return {"class_name": "Functional", "config": network, "keras_version": "2.15.0", "backend": "tensorflow"}


REFUSED: dict[str, tuple[Callable[[], keras.Model | dict], str, str]] = {
    "Lambda": (
        lambda: make_chain(K.Lambda(lambda images: images + 1), K.Flatten(), K.Dense(2)),
        "unsafe_model",
        r"\(Lambda\) holds program code. Replace it by layers of Keras",
    ),
    "custom layer": (
        lambda: make_chain(Doubled(), K.Flatten(), K.Dense(2)),
        "custom_object",
        r"Layer `doubled` \(Doubled\) is not among .* Build the same from layers of Keras and `keras.ops`",
    ),
    "two inputs": (make_two_inputs, "not_for_images", r"has 2 inputs: .* build it from one `keras.Input"),
    "no image input": (
        lambda: make_chain(K.Dense(2), image=(5,)),
        "not_for_images",
        r"takes \(None, 5\).* Begin it with `keras.Input\(\(height, width, channels\)\)`",
    ),
    "sequence output": (
        lambda: make_chain(K.Reshape((64, 3)), K.GRU(4, return_sequences=True)),
        "unfit_output",
        r"gives \(None, 64, 4\).* End a sequence with `GlobalAveragePooling1D`",
    ),
    "too many parameters": (
        lambda: make_chain(K.Flatten(), K.Dense(2**11), K.Dense(2)),
        "model_too_large",
        r"has 399,362 parameters, of which layer `\w+` \(Dense\) has 395,264; .* at most 300,000, .* Use fewer filters",
    ),
    "unsupported version of Keras": (
        make_keras_2_config,
        "old_format",
        r"is of Keras 2.15.0; expected Keras 3. Load the model with Keras 3",
    ),
    "preprocessing that has learned a mean": (
        lambda: make_chain(K.Normalization(), K.Flatten(), K.Dense(2)),
        "missing_state",
        r"\(Normalization\) learns its mean .* Give it `mean` and `variance`",
    ),
    "preprocessing that looks up values": (
        lambda: make_chain(K.Discretization([1.0, 2.0]), K.Flatten(), K.Dense(2)),
        "unsafe_model",
        r"has learned from data .* Convert the images before, leave the layer out",
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_each_frequent_refusal_says_what_to_do(tmp_path, reason):
    make, code, says = REFUSED[reason]
    refused = refuse(write(tmp_path, make()), 300_000)
    assert refused.code.value == code
    assert re.search(says, refused.detail), refused.detail


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (lambda: K.Dense(5, activation="sigmoid"), 'ends in a sigmoid.* use one figure per class.*"head": "replace"'),
        (lambda: K.Dense(4), 'has 4 classes, but the dataset has 5.*"head": "replace"'),
    ],
    ids=["sigmoid with several units", "another number of classes"],
)
def test_a_refusal_for_a_job_says_what_to_do(tmp_path, layer, says):
    facts = read_facts(write(tmp_path, make_chain(K.Flatten(), layer())))
    asked = OwnNetworkSpec(model="mod_01m8mmcc2ypzeq54q9b7ybq77f")
    with pytest.raises(InvalidSpec, match=says):
        make_own_network(asked, facts, (8, 8, 3), 5)
    make_own_network(asked.model_copy(update={"head": "replace"}), facts, (8, 8, 3), 5)


def test_the_manual_lists_every_reason_and_code():
    page = (Path(__file__).parents[3] / "docs/how-to/models.md").read_text(encoding="utf-8")
    _, _, page = page.partition("## When a model is rejected")
    usual, _, codes = page.partition("All codes:")
    assert len(re.findall(r"^\| (has|is|was|gives|ends|does) .+\|$", usual, re.MULTILINE)) == 12
    assert set(re.findall(r"^\| `(\w+)` \|", codes, re.MULTILINE)) == set(ModelRejectionCode)
    for code in ModelRejectionCode:
        assert f"| `{code}` | {code.meaning} |" in codes


def test_an_exported_tensorflow_program_is_refused(tmp_path):
    make_chain(K.Flatten(), K.Dense(2)).export(tmp_path / "saved", verbose=False)
    model = make_chain(K.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serve"))
    refused = refuse(write(tmp_path, model))
    assert refused.code.value == "unsafe_model"
    assert "holds a program of another library. Build the same from layers of Keras" in refused.detail


def test_refusals_of_hdf5_and_of_files_from_later_releases_say_what_to_do(tmp_path):
    model = make_chain(K.Flatten(), K.Dense(2, name="dense"))
    model.save(tmp_path / "model.h5")
    refused = refuse(tmp_path / "model.h5")
    assert refused.code.value == "old_format"
    assert "save the model with `model.save('model.keras')`" in refused.detail
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1]["config"]["sharpness"] = 1
    members |= {"config.json": json.dumps(config).encode(), "metadata.json": b'{"keras_version": "4.0.0"}'}
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    refused = refuse(tmp_path / "model.keras")
    assert "argument `sharpness`" in refused.detail
    assert f"written by Keras 4.0.0, and this service has Keras {keras.__version__}" in refused.detail


def test_a_file_that_claims_more_weights_than_it_has_bytes_is_refused(tmp_path):
    file = tmp_path / "model.keras"
    make_chain(K.Flatten(), K.Dense(3, name="dense")).save(file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1]["config"]["units"] = 2**24
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (members | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, content)
    refused = refuse(file)
    assert refused.code.value == "model_too_large"
    assert re.search(
        r"3,238,002,688 parameters, of which layer `dense` .* as many as a file of this size", refused.detail
    )


# --- JSON that is invalid or ambiguous -------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        ("{}", "not_a_model", "has no `module`, `class_name` and `config`"),
        ('{"module": "keras"', "model_damaged", "is not JSON"),
        ('{"a": ' + "[" * 10**6, "model_damaged", "is not JSON"),
        ('{"a": ' + "9" * 10**5 + "}", "model_damaged", "is not JSON"),
        (b'{"a": "\xff"}', "model_damaged", "is not JSON"),
        ('{"a": 1, "b": {"a": 1, "a": 2}}', "model_damaged", "has `a` twice in one object"),
        ('{"a": NaN}', "model_damaged", "has `NaN`, which is not a number"),
        ('{"a": -Infinity}', "model_damaged", "has `-Infinity`, which is not a number"),
        ('{"a": 1e999}', "model_damaged", "has `1e999`, which is too large"),
        ('{"a": "' + "x" * MAX_ARCHITECTURE_BYTES + '"}', "model_too_large", "4.0 MiB"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_invalid_or_ambiguous_json_is_refused(tmp_path, content, code, says):
    refused = refuse(write(tmp_path, content))
    assert refused.code.value == code
    assert says in refused.detail


# --- which layer calls which -----------------------------------------------------------------------


def make_shared() -> keras.Model:
    """Make a layer and an inner network that are each called twice, the layer on its own output."""
    images = keras.Input((8, 8, 4), name="images")
    conv = K.Conv2D(4, 3, padding="same", name="conv")
    inside_input = keras.Input((8, 8, 4))
    inside = keras.Model(inside_input, K.ReLU()(inside_input), name="inside")
    maps = K.Add(name="sum")([inside(conv(conv(images))), inside(images)])
    return keras.Model(images, K.Dense(3, name="dense")(K.Flatten(name="flat")(maps)))


def test_shared_layers_and_inner_networks_are_accepted():
    images = keras.Input((8, 8, 4))
    outer = keras.Model(images, make_shared()(K.ReLU()(images)))
    for model in (make_shared(), outer, keras.Model(images, outer(images)), make_chain(make_shared(), image=(8, 8, 4))):
        config = json.loads(model.to_json())
        assert build_model(read_network(config)).count_params() == model.count_params()


def take_output(config: dict, taker: str, of: str, call: int = 0) -> None:
    node = layer_of(config, taker)["inbound_nodes"][0]
    while not isinstance(node, dict) or node.get("class_name") != "__keras_tensor__":
        node = node["args"] if isinstance(node, dict) else node[0]
    node["config"]["keras_history"] = [of, call, 0]


CALLS: dict[str, tuple[Callable[[dict], Any], str]] = {
    "a cycle": (lambda config: take_output(config, "conv", "sum"), "takes an output that depends on its own"),
    "a layer on itself": (lambda config: take_output(config, "sum", "sum"), "`sum` takes an output that depends"),
    "a later call": (lambda config: take_output(config, "conv", "conv", 1), "`conv` takes an output that depends"),
    "a missing layer": (
        lambda config: take_output(config, "dense", "gone"),
        "call 0 of `gone`, which does not",
    ),
    "a missing call": (lambda config: take_output(config, "dense", "flat", 9), "call 9 of `flat`"),
    "a missing call of an inner network": (
        lambda config: take_output(config, "sum", "inside", 2),
        "call 2 of `inside`",
    ),
    "two layers with the same name": (
        lambda config: layer_of(config, "flat").update(name="sum"),
        "Two layers are named `sum`",
    ),
    "a path as a name": (
        lambda config: layer_of(config, "flat").update(name="../../etc/passwd"),
        "call 0 of `flat`, which does not exist",
    ),
    "no name": (lambda config: layer_of(config, "flat").update(name=None), "or one has no name"),
    "a missing output": (
        lambda config: config["config"].update(output_layers=["gone", 0, 0]),
        "The network takes the output of call 0 of `gone`",
    ),
}


@pytest.mark.parametrize("what", CALLS)
def test_references_to_missing_layers_and_calls_are_refused(tmp_path, what):
    change, says = CALLS[what]
    config = json.loads(make_shared().to_json())
    change(config)
    began = time.monotonic()
    refused = refuse(write(tmp_path, config))
    assert time.monotonic() - began < 5
    assert refused.code.value == "model_damaged"
    assert says in refused.detail
