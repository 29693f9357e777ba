"""Uploaded models that would read files, run code or connect elsewhere are refused before Keras builds any part."""

import ast
import json
import re
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from importlib import import_module
from itertools import count
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from analysis.arrays.onnx_tensors import TensorElsewhere
from heldout.lifecycle.resources import ModelRejectionCode
from predict.model import OnnxNetwork
from tests.onnx_files import dense_onnx, with_tensor_elsewhere
from tests.worker.training import costly_models, hostile_models
from worker.machine.enclosed_process import ProcessDied
from worker.supervision.uploaded_model_attempts import UploadedModelProcess, get_model_memory_bytes
from worker.training.exports.run import load_models
from worker.training.model_files import keras_config
from worker.training.model_files.keras_config import read_network
from worker.training.model_files.keras_file import build_model, load_model
from worker.training.model_files.keras_parts import ADVICE, LAYERS, MODELS, iterate_parts
from worker.training.model_files.refusal import ModelRefused
from worker.training.training_setup import start_from
from worker.training.uploaded_models.child import read_facts
from worker.training.uploaded_models.keras_model import KerasAnswers

ROOT = Path(__file__).parents[3]
SECRET = "hld_a-key-that-no-model-may-read"
# No model may cause these events. A hook cannot be removed, so `_watched` says when it counts.
_FORBIDDEN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.")
_seen: list[str] = []
_watched: set[str] = set()


def _watch(event: str, arguments: tuple) -> None:
    if _watched and (event.startswith(_FORBIDDEN) or (event == "open" and str(arguments[0]) in _watched)):
        _seen.append(f"{event} {arguments[0] if arguments else ''}")


sys.addaudithook(_watch)


@pytest.fixture
def secret(tmp_path):
    """Write a file; the test fails if a model reads it, starts a process or opens a socket."""
    file = tmp_path / "api-key"
    file.write_text(f"{SECRET}\n")
    _seen.clear()
    _watched.add(str(file))
    yield file
    _watched.clear()
    assert _seen == []


def require_own_words(refused: ModelRefused, folder: Path) -> None:
    """Check that the text has no path of the worker, no content of files and no control characters."""
    assert refused.code.value in {"custom_object", "unsafe_model", "model_damaged", "model_too_large", "not_a_model"}
    assert len(refused.detail) < 700
    assert refused.detail.isprintable()
    for leaked in (SECRET, "Traceback", "Error:", "site-packages"):
        assert leaked not in refused.detail


def test_configs_that_reach_beyond_a_network_are_refused(secret):
    count = 0
    for what, config in hostile_models.hostile_configs(str(secret)):
        with pytest.raises(ModelRefused) as refused:
            read_network(config)
        require_own_words(refused.value, secret.parent)
        assert refused.value.code.value in {"custom_object", "unsafe_model"}, what
        count += 1
    assert count > 300


def test_refusals_do_not_depend_on_the_advice_for_frequent_names(monkeypatch):
    """Listed parts are accepted and all others are refused, regardless of their names."""
    monkeypatch.setattr(keras_config, "ADVICE", {})
    for _, config in hostile_models.hostile_configs("/nowhere"):
        with pytest.raises(ModelRefused):
            read_network(config)
    assert not {name for names in LAYERS.values() for name in names} & set(ADVICE)


def test_tricks_of_archives_and_weights_are_refused(secret, tmp_path):
    files = dict(hostile_models.hostile_files(tmp_path, secret))
    assert len(files) > 20
    for what, file in files.items():
        with pytest.raises(ModelRefused) as refused:
            load_model(file)
        require_own_words(refused.value, tmp_path)
        assert refused.value.code.value != "custom_object", what
        assert str(tmp_path) not in refused.value.detail


def test_a_dotted_class_name_is_refused_without_quoting_the_file(secret, tmp_path):
    """Earlier releases read the file and quoted it in the rejection."""
    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Flatten(name="leaky")(pixels)))
    file = tmp_path / "model.keras"
    model.save(file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    hostile_models.layer_of(config, "leaky").update(
        class_name="layers.StringLookup", module="keras", config={"name": "\x1b[31mred", "vocabulary": str(secret)}
    )
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ModelRefused) as refused:
        read_facts(file)
    require_own_words(refused.value, tmp_path)
    assert refused.value.code.value == "unsafe_model"
    assert refused.value.detail.startswith(
        r"Layer `\x1b[31mred` (layers.StringLookup) keeps what it has learned from data or read from a file"
    )
    with pytest.raises(ModelRefused):
        KerasAnswers(file)


def test_a_plain_network_is_rebuilt_as_by_keras(tmp_path):
    built = build_model(read_network(hostile_models.plain()))
    file = tmp_path / "plain.keras"
    built.save(file)
    own, of_keras = load_model(file), keras.saving.load_model(file)
    images = keras.random.uniform((2, 8, 8, 3), seed=3) * 255
    assert (keras.ops.convert_to_numpy(own(images)) == keras.ops.convert_to_numpy(of_keras(images))).all()
    assert not list(tmp_path.glob("*weights*"))


def test_the_compilation_of_an_inner_network_is_dropped():
    """Keras would build its optimizer and loss from the file."""
    inside = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="inside")
    inside.compile(loss="mse")
    config = json.loads(keras.Sequential([keras.Input((4,)), inside]).to_json())
    assert "compile_config" in json.dumps(config)
    config["config"]["layers"][1]["compile_config"]["loss"] = {
        "module": "keras",
        "class_name": "layers.Lambda",
        "config": {},
    }
    read = read_network(config)
    assert "compile_config" not in json.dumps(read)
    assert build_model(read).count_params() == 10


def test_keras_has_every_listed_class():
    """A missing name would fail only once a model uses it."""
    for module, names in {**MODELS, **LAYERS}.items():
        for name in names:
            found = keras.saving.get_registered_object(name) or vars(import_module(module)).get(name)
            assert isinstance(found, type), f"{module}.{name}"
            assert issubclass(found, keras.Operation), f"{module}.{name}"


def test_weights_of_other_layers_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    file = tmp_path / "model.keras"
    model.save(file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with h5py.File(tmp_path / "model.weights.h5", "w") as weights:
        weights.create_dataset("layers/dense/vars/0", data=[1.0])
    members["model.weights.h5"] = (tmp_path / "model.weights.h5").read_bytes()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ModelRefused, match="The weights of the file do not fit its layers") as refused:
        load_model(file)
    require_own_words(refused.value, tmp_path)


@pytest.mark.parametrize(
    "place", ["initializer", "attribute", "branch", "sparse", "function", "training", "location alone"]
)
def test_onnx_files_with_values_in_other_files_are_refused(secret, tmp_path, place):
    file = tmp_path / "model.onnx"
    plain = dense_onnx(np.ones((192, 2)), np.ones(2), image=(3, 8, 8))
    file.write_bytes(with_tensor_elsewhere(plain, place, secret.name))
    with pytest.raises(ModelRefused, match="keeps weights in another file") as refused:
        read_facts(file)
    assert refused.value.code.value == "unsafe_model"
    with pytest.raises(TensorElsewhere):
        OnnxNetwork(file.read_bytes(), threads=1)


def test_stored_files_are_checked_again_when_they_are_opened(secret, tmp_path):
    """A job with a hostile backbone, accepted by an earlier release, has its layers in its own model."""
    file = tmp_path / "model.keras"
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
    keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda values: values), *network.layers]).save(file)
    for opened in (lambda: start_from(network, file, ["dense"]), lambda: load_models([file])):
        with pytest.raises(ModelRefused, match="holds program code"):
            opened()


def test_a_layer_that_cannot_be_built_is_named():
    config = hostile_models.plain()
    hostile_models.layer_of(config, "conv")["config"]["kernel_size"] = [0, 3]
    with pytest.raises(ModelRefused, match=r"Layer `conv` \(Conv2D\) cannot be built with its arguments") as refused:
        build_model(read_network(config))
    require_own_words(refused.value, Path("/nowhere"))


def test_parts_are_listed_at_every_depth():
    assert {"Functional", "Sequential", "Conv2D", "LeakyReLU", "L2"} <= {
        part["class_name"] for part in iterate_parts(hostile_models.plain())
    }


@pytest.mark.proof
def test_no_mutated_config_opens_a_file_or_starts_a_process(tmp_path):
    secret = tmp_path / "api-key"
    secret.write_text(SECRET)
    until, outcomes = time.monotonic() + 600, Counter[str]()
    for seed in count():
        command = [sys.executable, "-m", "tests.worker.training.fuzz_models", "1000", str(seed), str(secret)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        # A layer that is too large may end the process, as in the check of an upload.
        assert ended.returncode in {0, -signal.SIGABRT, -signal.SIGKILL, -signal.SIGXCPU}, ended.stderr[-2000:]
        if ended.returncode == 0:
            found = json.loads(ended.stdout.splitlines()[-1])
            assert found["broken"] == []
            outcomes.update(found["outcomes"])
        if time.monotonic() >= until and outcomes:
            break
    assert outcomes["unsafe_model"] > outcomes["built"] > 0


def test_reading_an_architecture_opens_only_its_file_and_imports_nothing(tmp_path):
    """Everything that Keras needs was imported before, so each audit event counts."""
    secret, folder = tmp_path / "api-key", tmp_path / "files"
    secret.write_text(SECRET)
    folder.mkdir()
    for number, (_, config) in enumerate(hostile_models.hostile_configs(str(secret))):
        (folder / f"config-{number}").write_text(json.dumps(config))
    hostile = {what: (text, code, place) for what, text, code, place in hostile_models.hostile_architectures("/root")}
    for what, (text, _, _) in hostile.items():
        (folder / what).write_text(text)
    output = tmp_path / "output.json"
    command = [sys.executable, "-m", "tests.worker.training.watched_reading", str(folder), str(output)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(output.read_text())
    assert [event for event in found["events"] if event[1:] != ["open", str(folder / event[0])]] == []
    assert found["outcomes"].keys() == {file.name for file in folder.iterdir()} - {"plain"}
    for what, (_, code, place) in hostile.items():
        assert found["outcomes"][what][0] == code, what
        assert place in found["outcomes"][what][1], what
    for name, (code, detail) in found["outcomes"].items():
        assert code in {*ModelRejectionCode}, name
        require_own_words(ModelRefused(ModelRejectionCode(code), detail), folder)


def test_only_one_module_lets_keras_rebuild_networks():
    """It checks them first. The other file is a script that loads what an export has just written."""
    rebuild = {"load_model", "deserialize_keras_object", "model_from_json"}
    found = set()
    for file in (ROOT / "worker").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in rebuild:
                found.add(file.relative_to(ROOT / "worker/training").as_posix())
    assert found == {"model_files/keras_file.py", "exports/plain_keras.py"}


def test_a_huge_computation_is_ended_by_the_memory_limit_of_its_process(tmp_path):
    """An image of 8×8 pixels becomes one of 1,000 million, although the network has 12 parameters."""
    layers = [
        hostile_models.part("keras.layers", "InputLayer", {"batch_shape": [None, 8, 8, 3], "name": "images"}),
        hostile_models.part("keras.layers", "UpSampling2D", {"size": [2**12, 2**12], "name": "larger"}),
        hostile_models.part("keras.layers", "GlobalAveragePooling2D", {"name": "pool"}),
        hostile_models.part("keras.layers", "Dense", {"units": 3, "name": "dense"}),
    ]
    file = tmp_path / "model.json"
    file.write_text(json.dumps(hostile_models.part("keras", "Sequential", {"name": "network", "layers": layers})))
    limits = {"memory_bytes": get_model_memory_bytes(file), "wall_s": 300}
    with UploadedModelProcess(
        "check", {"max_parameters": 1000}, {"model": file}, tmp_path / "out", **limits
    ) as process:
        assert process.receive(300) == {"out_of_memory": True}


# The import of Keras exceeds the shorter limit, and the answer to a black image the longer.
@pytest.mark.parametrize("wall_s", [1, pytest.param(10, marks=pytest.mark.proof)])
def test_a_network_that_takes_too_long_is_ended_by_the_time_limit_of_its_process(tmp_path, wall_s):
    file = tmp_path / "model.json"
    file.write_text(json.dumps(costly_models.make_slow()))
    limits = {"memory_bytes": get_model_memory_bytes(file), "wall_s": wall_s}
    assigned, inputs = {"max_parameters": 10**8}, {"model": file}
    with (
        UploadedModelProcess("check", assigned, inputs, tmp_path / "out", **limits) as process,
        pytest.raises(ProcessDied) as died,
    ):
        process.receive(500)
    assert died.value.exit_code in {-signal.SIGXCPU, -signal.SIGKILL}


@pytest.mark.proof
def test_the_check_of_a_small_architecture_ends_after_half_a_minute_of_processor_time(tmp_path):
    """Its answer to one image would take minutes."""
    file = tmp_path / "model.json"
    file.write_text(json.dumps(costly_models.make_slow()))
    limits = {"memory_bytes": get_model_memory_bytes(file, 10**8), "wall_s": 900}
    with UploadedModelProcess(
        "check", {"max_parameters": 10**8}, {"model": file}, tmp_path / "out", **limits
    ) as process:
        refused = process.receive(900)["refused"]
        used_s = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert refused["code"] == "timed_out"
    assert re.match(
        r"The check took more than 3\d s of processor time, the limit for a network that calls layers \d\d\d times\. "
        "Make its images, layers or loops smaller, and upload it again.",
        refused["detail"],
    )
    assert used_s.ru_utime < 60
