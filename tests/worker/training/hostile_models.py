"""Configs and files of models that no worker may build: they read files, run code, reach out, or lie about sizes."""

import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from tests.worker.training.costly_models import Config, make_chain, make_nested, make_sequence

# Names that Keras exports and resolves, by the argument that would be a path; those below "" have no arguments.
_BY_PATH = {
    "identifier": "activations.get",
    "weights": "applications.MobileNetV2",
    "backup_dir": "callbacks.BackupAndRestore",
    "filename": "callbacks.CSVLogger",
    "": (
        "callbacks.LambdaCallback config.enable_unsafe_deserialization datasets.cifar10.load_data "
        "dtype_policies.DTypePolicyMap export.ExportArchive Function layers.Layer losses.MeanSquaredError "
        "metrics.Accuracy optimizers.SGD quantizers.AbsMaxQuantizer utils.PyDataset"
    ),
    "filepath": (
        "callbacks.ModelCheckpoint layers.TFSMLayer models.load_model saving.KerasFileEditor "
        "saving.load_model saving.load_weights saving.save_model"
    ),
    "log_dir": "callbacks.TensorBoard",
    "path": "datasets.mnist.load_data preprocessing.image.load_img utils.load_img utils.save_img",
    "module": "layers.FlaxLayer layers.TorchModuleWrapper",
    "vocabulary": "layers.IntegerLookup layers.StringLookup layers.TextVectorization",
    "call_fn": "layers.JaxLayer",
    "function": "layers.Lambda ops.vectorized_map",
    "cell": "layers.RNN",
    "model": "models.clone_model wrappers.SKLearnClassifier",
    "f": "ops.map",
    "cond": "ops.while_loop",
    "func": "tree.map_structure",
    "directory": (
        "utils.audio_dataset_from_directory utils.image_dataset_from_directory utils.text_dataset_from_directory"
    ),
    "to_file": "utils.plot_model",
}
# Names with arguments that would make them act. "PATH" stands for a path.
_ACTING: dict[str, dict[str, Any]] = {
    "applications.ResNet50": {"weights": "imagenet"},
    "callbacks.RemoteMonitor": {"root": "http://127.0.0.1:9"},
    "config.set_backend": {"backend": "torch"},
    "config.set_floatx": {"value": "float64"},
    "distribution.initialize": {"job_addresses": "127.0.0.1:9"},
    "KerasTensor": {"shape": [1]},
    "layers.Discretization": {"bin_boundaries": [1.0]},
    "layers.HashedCrossing": {"num_bins": 4},
    "layers.Hashing": {"num_bins": 4},
    "layers.Pipeline": {"layers": []},
    "layers.StackedRNNCells": {"cells": []},
    "mixed_precision.set_global_policy": {"policy": "float64"},
    "models.model_from_json": {"json_string": "{}"},
    "ops.cond": {"pred": True},
    "random.normal": {"shape": [4]},
    "saving.CustomObjectScope": {"custom_objects": {}},
    "saving.deserialize_keras_object": {"config": {}},
    "utils.get_file": {"fname": "PATH", "origin": "http://127.0.0.1:9"},
}
_PATHS = {
    name: {argument: "PATH"} if argument else {} for argument, names in _BY_PATH.items() for name in names.split()
}
REACHING = dict(sorted((_ACTING | _PATHS).items(), key=lambda item: (item[0].partition(".")[0].lower(), item[0])))
# Modules outside Keras' public names: Python's, TensorFlow's, and Keras' private ones.
OUTSIDE = [
    ("os", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "open"),
    ("importlib", "import_module"),
    ("tensorflow", "io.read_file"),
    ("keras_hub.models", "Backbone"),
    ("keras.src.saving.saving_lib", "load_model"),
    ("keras.src.layers.core.lambda_layer", "Lambda"),
    ("keras.src.layers.preprocessing.string_lookup", "StringLookup"),
    ("keras.src.export.tfsm_layer", "TFSMLayer"),
    ("keras.src.ops.function", "Function"),
    ("keras.src.ops.core", "Map"),
    ("keras.src.models.model", "Model"),
]


def plain() -> Config:
    """Return the config of a network as Keras writes it: a graph with a branch, constants and an inner network."""
    config: Config = json.loads(_plain())
    return config


@cache
def _plain() -> str:
    inside = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.ReLU(), keras.layers.Flatten()], name="inside")
    pixels = keras.Input((8, 8, 3), name="pixels")
    maps = keras.layers.Conv2D(4, 3, padding="same", kernel_regularizer="l2", name="conv")(pixels / 255.0)
    maps = keras.layers.Add(name="sum")([maps, keras.layers.LeakyReLU(name="leaky")(maps)])[:, :, ::-1]
    model = keras.Model(pixels, keras.layers.Dense(3, name="dense")(inside(maps)), name="network")
    return str(model.to_json())


def part(module: str, name: str, arguments: Any) -> Config:
    return {"module": module, "class_name": name, "config": arguments, "registered_name": None}


def layer_of(config: Config, name: str) -> Config:
    found: Config = next(layer for layer in config["config"]["layers"] if layer["name"] == name)
    return found


def _instead_of_a_layer(config: Config, put: Config) -> None:
    taken = layer_of(config, "leaky")
    taken |= put | {"config": {"name": "leaky", **put["config"]} if isinstance(put["config"], dict) else put["config"]}


def _as_an_activation(config: Config, put: Config) -> None:
    layer_of(config, "dense")["config"]["activation"] = put


def _as_an_initializer(config: Config, put: Config) -> None:
    layer_of(config, "conv")["config"]["kernel_initializer"] = put


def _as_a_dtype(config: Config, put: Config) -> None:
    layer_of(config, "conv")["config"]["dtype"] = put


def _in_a_call(config: Config, put: Config) -> None:
    layer_of(config, "sum")["inbound_nodes"][0]["kwargs"] = {"training": put}


def _in_the_network_inside(config: Config, put: Config) -> None:
    layer_of(config, "inside")["config"]["layers"].append(put)


def _as_the_whole(config: Config, put: Config) -> None:
    config |= put


PLACES: list[Callable[[Config, Config], None]] = [
    _instead_of_a_layer,
    _as_an_activation,
    _as_an_initializer,
    _as_a_dtype,
    _in_a_call,
    _in_the_network_inside,
    _as_the_whole,
]


def hostile_configs(path: str) -> Iterator[tuple[str, Config]]:
    """Yield configs, each after what is wrong with it. path: the file that their arguments name."""
    for number, (name, listed) in enumerate(REACHING.items()):
        arguments = {key: path if value == "PATH" else value for key, value in listed.items()}
        module, _, own = f"keras.{name}".rpartition(".")
        put = PLACES[number % len(PLACES)]
        for way, made in {
            "as a module and a class": part(module, own, arguments),
            "behind the name of a class": part("keras", name, arguments),
            "as a function": part(module, "function", own),
            "as a function of Python": part("builtins", "function", name),
        }.items():
            config = plain()
            put(config, made)
            yield f"{name} {way}", config
    for number, (module, own) in enumerate(OUTSIDE):
        config = plain()
        PLACES[number % len(PLACES)](config, part(module, own, {"name": "x"}))
        yield f"{module}.{own}", config
    yield from _twisted(path)


def _changed(change: Callable[[Config], Any]) -> Config:
    config = plain()
    change(config)
    return config


def _conv(**arguments: Any) -> Config:
    return _changed(lambda config: layer_of(config, "conv")["config"].update(arguments))


def _called(value: Any) -> Config:
    return _changed(lambda config: layer_of(config, "sum")["inbound_nodes"][0]["args"].append(value))


def _with(layer: str, **fields: Any) -> Config:
    return _changed(lambda config: layer_of(config, layer).update(fields))


def _twisted(path: str) -> Iterator[tuple[str, Config]]:
    """Yield parts of Keras with arguments that no network has."""
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    zeros, lambda_layer = part("keras.initializers", "Zeros", {}), part("keras", "layers.Lambda", {})
    slice_ = {"start": lambda_layer, "stop": None, "step": None}
    type_spec = {"class_name": "__typespec__", "spec_name": "TensorSpec", "module": "tensorflow", "config": []}
    yield "an argument of another layer", _conv(vocabulary=path)
    yield "an argument with a dot", _conv(**{"kernel.initializer": path})
    yield "a path as an initializer", _conv(kernel_initializer=path)
    yield "a path as a dtype", _conv(dtype=path)
    yield "a path as the name of a dtype policy", _conv(dtype=part("keras", "DTypePolicy", {"name": path}))
    yield "a path as padding", _conv(padding=path)
    yield "a function of another module as the activation", _conv(activation="keras.utils.get_file")
    yield "a function without a name as the activation", _conv(activation=part("builtins", "function", None))
    yield "a layer where a number belongs", _conv(filters=part("keras.layers", "Dense", {"units": 1}))
    yield "an initializer where a layer belongs", _changed(lambda config: _instead_of_a_layer(config, zeros))
    yield "more filters than memory", _conv(filters=2**40)
    yield "a number with a thousand digits", _conv(filters=10**1000)
    yield "a boolean where a number belongs", _conv(filters=True)
    yield "a name of a megabyte", _conv(name="x" * 1024**2)
    yield "not a number", _conv(kernel_regularizer=part("keras.regularizers", "L2", {"l2": float("nan")}))
    yield "infinity", _conv(kernel_regularizer=part("keras.regularizers", "L2", {"l2": float("inf")}))
    yield "lists in lists in lists", _conv(kernel_size=deep)
    for what, kind, value in (
        ("a constant of a million numbers", "__tensor__", {"value": [0.0] * 10**6, "dtype": "float32"}),
        ("a constant of strings", "__numpy__", {"value": [path], "dtype": "object"}),
        ("code among constants", "__lambda__", {"value": ["4wEAAA==", None, None]}),
        ("bytes among constants", "__bytes__", {"value": path}),
        ("an object inside a slice", "__slice__", slice_),
    ):
        yield what, _called({"class_name": kind, "config": value})
    yield "a type of TensorFlow among constants", _called(type_spec | {"registered_name": None})
    yield "a string in a call", _called(path)
    yield "objects by name in a call", _called({"x": part("keras.layers", "Lambda", {})})
    yield "a call as older releases wrote it", _with("sum", inbound_nodes=[[["conv", 0, 0, {"training": path}]]])
    yield "a registered class", _with("sum", registered_name="mine>Sum")
    yield "no module", _changed(lambda config: layer_of(config, "sum").pop("module"))
    yield "a list as the name of a class", _with("sum", class_name=["Add"])
    yield "an object as a module", _with("sum", module={"keras": 1})
    shared = _with("conv", shared_object_id=7)
    layer_of(shared, "sum")["shared_object_id"] = 7
    yield "the same number for two objects", shared
    yield "objects in what a layer is built with", _with("conv", build_config={"input_shape": lambda_layer})
    yield "an argument for the network itself", _changed(lambda config: config["config"].update(filepath=path))
    yield "no layers", _changed(lambda config: config["config"].pop("layers"))
    yield "a layer inside itself, often", _nested(60)
    many = plain()
    many["config"]["layers"] += [layer_of(many, "sum")] * 20_000
    yield "more parts than a network has", many


def _nested(times: int) -> Config:
    config = plain()
    for number in range(times):
        config = part("keras", "Sequential", {"name": f"n{number}", "layers": [config]})
    return config


# --- files ----------------------------------------------------------------------------------------


def hostile_files(folder: Path, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield files with a hostile archive or hostile weights; their config is that of a plain network."""
    whole = folder / "whole.keras"
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, name="dense")])
    model.save(whole)
    with zipfile.ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = members["model.weights.h5"]

    def written(name: str, replaced: dict[str, bytes], **options: Any) -> Path:
        file = folder / f"{name.replace(' ', '-')}.keras"
        with zipfile.ZipFile(file, "w", **options) as archive:
            for member, content in (members | replaced).items():
                archive.writestr(member, content)
        return file

    for name, change in WEIGHTS.items():
        content = BytesIO(weights)
        with h5py.File(content, "r+") as opened:
            change(opened, str(path))
        yield name, written(name, {"model.weights.h5": content.getvalue()})
    not_hdf5 = b"\x89HDF\r\n\x1a\n" + b"x" * 99
    yield "weights that are not HDF5", written("weights that are not HDF5", {"model.weights.h5": not_hdf5})
    yield "truncated weights", written("truncated weights", {"model.weights.h5": weights[:-200]})
    bombs = {"config.json": b'{"a":"' + b"x" * 20 * 1024**2 + b'"}', "model.weights.h5": bytes(80 * 1024**2)}
    for member, bomb in bombs.items():
        yield f"a bomb in {member}", written(member, {member: bomb}, compression=zipfile.ZIP_DEFLATED)
    yield "a config of brackets", written("brackets", {"config.json": b"[" * 10**6})
    yield "a config that is a list", written("list", {"config.json": b"[]"})
    yield "a config of a long number", written("digits", {"config.json": b'{"a":' + b"9" * 10**5 + b"}"})
    yield "metadata that is a list", written("metadata", {"metadata.json": b"[]"})
    twice = written("two configs", {})
    with zipfile.ZipFile(twice, "a") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr("config.json", json.dumps(plain()))
    yield "two configs", twice
    yield "a truncated archive", _with_bytes(folder / "truncated.keras", whole.read_bytes()[:-40])
    # The method of compression and the flag of encryption, in the directory at the end.
    yield "an unknown compression", _with_bytes(folder / "compression.keras", _patched(whole.read_bytes(), 10, 99))
    yield "an encrypted member", _with_bytes(folder / "encrypted.keras", _patched(whole.read_bytes(), 8, 1))


def _with_bytes(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def _patched(archive: bytes, offset: int, value: int) -> bytes:
    changed = bytearray(archive)
    at = archive.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<H", changed, at + offset, value)
        at = archive.find(b"PK\x01\x02", at + 4)
    return bytes(changed)


def _virtual(opened: h5py.File, path: str) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(path, "data", (4,))
    opened.create_virtual_dataset("virtual", layout)


def _huge(opened: h5py.File, path: str) -> None:
    opened.create_dataset("huge", (2**40,), "f4", chunks=(1024,), compression="gzip")


def _many(opened: h5py.File, path: str) -> None:
    for number in range(40):
        opened.create_dataset(f"huge{number}", (2**20,), "f4", chunks=(1024,), compression="gzip")


WEIGHTS: dict[str, Callable[[h5py.File, str], Any]] = {
    "weights in another file": lambda opened, path: opened.__setitem__("other", h5py.ExternalLink(path, "/")),
    "weights behind a soft link": lambda opened, path: opened.__setitem__("other", h5py.SoftLink("/nowhere")),
    "weights in bytes of another file": lambda opened, path: opened.create_dataset(
        "other", (4,), "f4", external=[(path, 0, 16)]
    ),
    "weights put together from another file": _virtual,
    "weights that are strings": lambda opened, path: opened.create_dataset(
        "strings", data=np.array([path], h5py.string_dtype())
    ),
    "weights that refer to others": lambda opened, path: opened.create_dataset("refs", (2,), h5py.ref_dtype),
    "weights with fields": lambda opened, path: opened.create_dataset("fields", (2,), [("a", "f4"), ("b", "i8")]),
    "weights behind a filter of a plug-in": lambda opened, path: opened.create_dataset(
        "filtered", data=np.ones(4096, "f4"), compression="lzf"
    ),
    "weights of four terabytes": _huge,
    "many compressed datasets that are large together": _many,
    "a type among the weights": lambda opened, path: opened.__setitem__("type", np.dtype("f4")),
}


# --- architectures alone --------------------------------------------------------------------------


def _layer(kind: str, **arguments: Any) -> Config:
    return part("keras.layers", kind, arguments)


def _chain(*layers: Config, image: Any = (8, 8, 3), ends: bool = True) -> Config:
    """Put the layers into the smallest possible network."""
    first = _layer("InputLayer", batch_shape=[None, *image], name="images")
    last = [_layer("Flatten", name="flat"), _layer("Dense", units=3, name="dense")] if ends else []
    return part("keras", "Sequential", {"name": "network", "layers": [first, *layers, *last]})


def _initialized(**arguments: Any) -> Config:
    """Return a layer with a constant initializer."""
    return _layer("Dense", units=3, name="drawn", kernel_initializer=part("keras.initializers", "Constant", arguments))


def hostile_architectures(path: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield JSON that is costly or ambiguous, with the code and the place of its refusal."""
    relu = _layer("ReLU", name="relu")
    for what, config, code, place in (
        ("100,000 layers", _chain(*[_layer("ReLU")] * 100_000), "model_too_large", "has 8.5 MiB"),
        (
            "5,000 layers",
            _chain(*[relu] * 5_000),
            "unsafe_model",
            "relu` (ReLU) is where the model has more than 4,000",
        ),
        ("networks in networks", _nested(60), "unsafe_model", "40 inside each other"),
        (
            "activations at the end of a sequence",
            make_sequence(3900),
            "model_too_large",
            "call layers 7,620,607 times to build the model and to answer one image; expected at most 10,000",
        ),
        (
            "activations at the end of a chain",
            make_chain(3900),
            "model_too_large",
            "In `chain` (Functional) 3,903 layers follow each other; at most 2,000 are read",
        ),
        ("a chain that Keras cannot build", make_chain(1500), "model_too_large", "1,503 layers follow each other"),
        (
            "networks that call each other",
            make_nested(10, 10),
            "model_too_large",
            "call layers 11,111,111,114 times to build the model and to answer one image; expected at most 10,000. It "
            "consists of 11 networks",
        ),
        ("a giant name", _chain(_layer("ReLU", name="x" * 10**6)), "unsafe_model", "Argument `name` of layer `xxx"),
        ("a giant formula", _chain(_layer("EinsumDense", equation="a" * 10**6)), "unsafe_model", "Argument `equation`"),
        ("giant units", _chain(_layer("Dense", units=2**24, name="wide")), "model_too_large", "layer `dense` (Dense)"),
        (
            "giant filters",
            _chain(_layer("Conv2D", filters=2**24, kernel_size=1, name="wide")),
            "model_too_large",
            "at most 50",
        ),
        (
            "a giant kernel",
            _chain(_layer("Conv2D", filters=1, kernel_size=[2**13, 2**13], padding="same", name="wide")),
            "model_too_large",
            "layer `wide` (Conv2D) has 201,326,593",
        ),
        (
            "a kernel beyond that",
            _chain(_layer("Conv2D", filters=1, kernel_size=2**25)),
            "unsafe_model",
            "`kernel_size`",
        ),
        ("no initial value", _chain(_initialized(value=None)), "model_damaged", "Layer `drawn` (Dense)"),
        (
            "a string as the initial value",
            _chain(_initialized(value=path)),
            "unsafe_model",
            "Argument `value` of `Constant`",
        ),
        ("a giant initial value", _chain(_initialized(value=1e300)), "model_damaged", "Layer `drawn` (Dense)"),
        (
            "a dtype without gradients",
            _chain(_layer("Dense", units=3, dtype="int8", name="odd")),
            "model_damaged",
            "Layer `odd` (Dense)",
        ),
        ("an unknown dtype", _chain(_layer("Dense", units=3, dtype=path)), "unsafe_model", "Argument `dtype`"),
        ("a name that leaves a folder", _chain(_layer("ReLU", name="../../etc/passwd")), "model_damaged", "passwd"),
        ("a name from the root", _chain(_layer("ReLU", name=path)), "model_damaged", "cannot be built"),
        ("a name with a zero", _chain(_layer("ReLU", name="a\x00b/c")), "model_damaged", r"a\x00b/c"),
        ("a giant image", _chain(image=[2**16, 2**16, 3]), "model_too_large", "layer `dense`"),
    ):
        yield what, json.dumps(config), code, place
    for what, number in (("not a number", float("nan")), ("infinity", float("inf")), ("minus infinity", -float("inf"))):
        yield (
            f"an initial value that is {what}",
            json.dumps(_chain(_initialized(value=number))),
            "model_damaged",
            "has `",
        )
    text = json.dumps(_chain(relu))
    twice = text.replace('"name": "relu"', f'"name": "relu", "name": {json.dumps(path)}')
    yield "two names in one layer", twice, "model_damaged", "has `name` twice"
