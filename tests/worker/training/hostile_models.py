"""Configs and files of models that no worker may build: they read files, run code, reach out, or lie about sizes."""

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

Config = dict[str, Any]

# Names that Keras exports and resolves, with arguments that would have them do something.
REACHING: dict[str, dict[str, Any]] = {
    "activations.get": {"identifier": "PATH"},
    "applications.MobileNetV2": {"weights": "PATH"},
    "applications.ResNet50": {"weights": "imagenet"},
    "callbacks.BackupAndRestore": {"backup_dir": "PATH"},
    "callbacks.CSVLogger": {"filename": "PATH"},
    "callbacks.LambdaCallback": {},
    "callbacks.ModelCheckpoint": {"filepath": "PATH"},
    "callbacks.RemoteMonitor": {"root": "http://127.0.0.1:9"},
    "callbacks.TensorBoard": {"log_dir": "PATH"},
    "config.enable_unsafe_deserialization": {},
    "config.set_backend": {"backend": "torch"},
    "config.set_floatx": {"value": "float64"},
    "datasets.cifar10.load_data": {},
    "datasets.mnist.load_data": {"path": "PATH"},
    "distribution.initialize": {"job_addresses": "127.0.0.1:9"},
    "dtype_policies.DTypePolicyMap": {},
    "export.ExportArchive": {},
    "Function": {},
    "KerasTensor": {"shape": [1]},
    "layers.Discretization": {"bin_boundaries": [1.0]},
    "layers.FlaxLayer": {"module": "PATH"},
    "layers.HashedCrossing": {"num_bins": 4},
    "layers.Hashing": {"num_bins": 4},
    "layers.IntegerLookup": {"vocabulary": "PATH"},
    "layers.JaxLayer": {"call_fn": "PATH"},
    "layers.Lambda": {"function": "PATH"},
    "layers.Layer": {},
    "layers.Pipeline": {"layers": []},
    "layers.RNN": {"cell": "PATH"},
    "layers.StackedRNNCells": {"cells": []},
    "layers.StringLookup": {"vocabulary": "PATH"},
    "layers.TFSMLayer": {"filepath": "PATH"},
    "layers.TextVectorization": {"vocabulary": "PATH"},
    "layers.TorchModuleWrapper": {"module": "PATH"},
    "losses.MeanSquaredError": {},
    "metrics.Accuracy": {},
    "mixed_precision.set_global_policy": {"policy": "float64"},
    "models.clone_model": {"model": "PATH"},
    "models.load_model": {"filepath": "PATH"},
    "models.model_from_json": {"json_string": "{}"},
    "ops.cond": {"pred": True},
    "ops.map": {"f": "PATH"},
    "ops.vectorized_map": {"function": "PATH"},
    "ops.while_loop": {"cond": "PATH"},
    "optimizers.SGD": {},
    "preprocessing.image.load_img": {"path": "PATH"},
    "quantizers.AbsMaxQuantizer": {},
    "random.normal": {"shape": [4]},
    "saving.CustomObjectScope": {"custom_objects": {}},
    "saving.KerasFileEditor": {"filepath": "PATH"},
    "saving.deserialize_keras_object": {"config": {}},
    "saving.load_model": {"filepath": "PATH"},
    "saving.load_weights": {"filepath": "PATH"},
    "saving.save_model": {"filepath": "PATH"},
    "tree.map_structure": {"func": "PATH"},
    "utils.PyDataset": {},
    "utils.audio_dataset_from_directory": {"directory": "PATH"},
    "utils.get_file": {"fname": "PATH", "origin": "http://127.0.0.1:9"},
    "utils.image_dataset_from_directory": {"directory": "PATH"},
    "utils.load_img": {"path": "PATH"},
    "utils.plot_model": {"to_file": "PATH"},
    "utils.save_img": {"path": "PATH"},
    "utils.text_dataset_from_directory": {"directory": "PATH"},
    "wrappers.SKLearnClassifier": {"model": "PATH"},
}
# Outside of Keras: modules of Python, of TensorFlow, and Keras' private ones behind its public names.
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
    """A network as Keras writes one: a graph with a branch, constants, and a network inside."""
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
    found: Config = next(one for one in config["config"]["layers"] if one["name"] == name)
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
    """Configs by what is wrong with them. path: what their arguments name."""
    told = [
        (name, {key: path if value == "PATH" else value for key, value in of.items()}) for name, of in REACHING.items()
    ]
    for number, (name, arguments) in enumerate(told):
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


def _twisted(path: str) -> Iterator[tuple[str, Config]]:
    """Parts of Keras with arguments that no network has."""
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    yield "an argument of another layer", _conv(vocabulary=path)
    yield "an argument with a dot", _conv(**{"kernel.initializer": path})
    yield "a path as an initializer", _conv(kernel_initializer=path)
    yield "a path as a dtype", _conv(dtype=path)
    yield "a path as the name of a dtype's policy", _conv(dtype=part("keras", "DTypePolicy", {"name": path}))
    yield "a path as padding", _conv(padding=path)
    yield "a function of another module as the activation", _conv(activation="keras.utils.get_file")
    yield "a layer where a number belongs", _conv(filters=part("keras.layers", "Dense", {"units": 1}))
    yield (
        "an initializer where a layer belongs",
        _changed(lambda config: _instead_of_a_layer(config, part("keras.initializers", "Zeros", {}))),
    )
    yield "more filters than memory", _conv(filters=2**40)
    yield "a number with a thousand digits", _conv(filters=10**1000)
    yield "a truth where a number belongs", _conv(filters=True)
    yield "a name of a megabyte", _conv(name="x" * 1024**2)
    yield "not a number", _conv(kernel_regularizer=part("keras.regularizers", "L2", {"l2": float("nan")}))
    yield "infinity", _conv(kernel_regularizer=part("keras.regularizers", "L2", {"l2": float("inf")}))
    yield "lists in lists in lists", _conv(kernel_size=deep)
    yield (
        "a constant of a million numbers",
        _called({"class_name": "__tensor__", "config": {"value": [0.0] * 10**6, "dtype": "float32"}}),
    )
    yield "a constant of texts", _called({"class_name": "__numpy__", "config": {"value": [path], "dtype": "object"}})
    yield "code among constants", _called({"class_name": "__lambda__", "config": {"value": ["4wEAAA==", None, None]}})
    yield "bytes among constants", _called({"class_name": "__bytes__", "config": {"value": path}})
    yield (
        "a type of TensorFlow among constants",
        _called(
            {
                "class_name": "__typespec__",
                "spec_name": "TensorSpec",
                "module": "tensorflow",
                "registered_name": None,
                "config": [],
            }
        ),
    )
    yield (
        "an object inside a slice",
        _called(
            {
                "class_name": "__slice__",
                "config": {"start": part("keras", "layers.Lambda", {}), "stop": None, "step": None},
            }
        ),
    )
    yield "a text in a call", _called(path)
    yield "objects by name in a call", _called({"x": part("keras.layers", "Lambda", {})})
    yield (
        "a call as older releases wrote it",
        _changed(lambda config: layer_of(config, "sum").update(inbound_nodes=[[["conv", 0, 0, {"training": path}]]])),
    )
    yield (
        "a class that is registered",
        _changed(lambda config: layer_of(config, "sum").update(registered_name="mine>Sum")),
    )
    yield "no module", _changed(lambda config: layer_of(config, "sum").pop("module"))
    yield "a list as the name of a class", _changed(lambda config: layer_of(config, "sum").update(class_name=["Add"]))
    yield "an object as a module", _changed(lambda config: layer_of(config, "sum").update(module={"keras": 1}))
    yield (
        "one number for two objects",
        _changed(lambda config: [layer_of(config, name).update(shared_object_id=7) for name in ("conv", "sum")]),
    )
    yield (
        "objects in what a layer is built with",
        _changed(
            lambda config: layer_of(config, "conv").update(
                build_config={"input_shape": part("keras", "layers.Lambda", {})}
            )
        ),
    )
    yield "an argument for the network itself", _changed(lambda config: config["config"].update(filepath=path))
    yield "no layers", _changed(lambda config: config["config"].pop("layers"))
    yield "a layer inside itself, often", _nested(60)
    yield (
        "more parts than a network has",
        _changed(lambda config: config["config"]["layers"].extend([layer_of(config, "sum")] * 20_000)),
    )


def _nested(times: int) -> Config:
    config = plain()
    for number in range(times):
        config = part("keras", "Sequential", {"name": f"n{number}", "layers": [config]})
    return config


# --- files ----------------------------------------------------------------------------------------


def hostile_files(folder: Path, path: Path) -> Iterator[tuple[str, Path]]:
    """Files whose archive or weights play a trick; their config is that of a plain network."""
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
    yield (
        "weights that are none",
        written("weights that are none", {"model.weights.h5": b"\x89HDF\r\n\x1a\n" + b"x" * 99}),
    )
    yield "weights that are cut", written("weights that are cut", {"model.weights.h5": weights[:-200]})
    yield (
        "a config that is a bomb",
        written("bomb", {"config.json": b'{"a":"' + b"x" * 20 * 1024**2 + b'"}'}, compression=zipfile.ZIP_DEFLATED),
    )
    yield (
        "weights that are a bomb",
        written("weights bomb", {"model.weights.h5": bytes(80 * 1024**2)}, compression=zipfile.ZIP_DEFLATED),
    )
    yield "a config of brackets", written("brackets", {"config.json": b"[" * 10**6})
    yield "a config that is a list", written("list", {"config.json": b"[]"})
    yield "a config of a long number", written("digits", {"config.json": b'{"a":' + b"9" * 10**5 + b"}"})
    yield "metadata that are a list", written("metadata", {"metadata.json": b"[]"})
    twice = written("two configs", {})
    with zipfile.ZipFile(twice, "a") as archive, _no_warning():
        archive.writestr("config.json", json.dumps(plain()))
    yield "two configs", twice
    yield "a cut archive", _with_bytes(folder / "cut.keras", whole.read_bytes()[:-40])
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


def _no_warning() -> Any:
    import warnings

    caught = warnings.catch_warnings()
    warnings.simplefilter("ignore")
    return caught


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
    "weights of texts": lambda opened, path: opened.create_dataset("texts", data=np.array([path], h5py.string_dtype())),
    "weights that refer to others": lambda opened, path: opened.create_dataset("refs", (2,), h5py.ref_dtype),
    "weights with fields": lambda opened, path: opened.create_dataset("fields", (2,), [("a", "f4"), ("b", "i8")]),
    "weights behind a filter of a plug-in": lambda opened, path: opened.create_dataset(
        "filtered", data=np.ones(4096, "f4"), compression="lzf"
    ),
    "weights of four terabytes": _huge,
    "weights of much that is little": _many,
    "a type among the weights": lambda opened, path: opened.__setitem__("type", np.dtype("f4")),
}


# --- architectures alone --------------------------------------------------------------------------


def _layer(kind: str, **arguments: Any) -> Config:
    return part("keras.layers", kind, arguments)


def _chain(*layers: Config, image: Any = (8, 8, 3), ends: bool = True) -> Config:
    """A network around the layers that is as small as it can be."""
    first = _layer("InputLayer", batch_shape=[None, *image], name="images")
    last = [_layer("Flatten", name="flat"), _layer("Dense", units=3, name="dense")] if ends else []
    return part("keras", "Sequential", {"name": "network", "layers": [first, *layers, *last]})


def _drawn(**arguments: Any) -> Config:
    """A layer with an initializer."""
    return _layer("Dense", units=3, name="drawn", kernel_initializer=part("keras.initializers", "Constant", arguments))


def hostile_architectures(path: str) -> Iterator[tuple[str, str, str, str]]:
    """JSON that costs much or means something else, with the code and the place of its refusal."""
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
        ("an initial value that is none", _chain(_drawn(value=None)), "model_damaged", "Layer `drawn` (Dense)"),
        ("initial values of text", _chain(_drawn(value=path)), "unsafe_model", "Argument `value` of `Constant`"),
        ("giant initial values", _chain(_drawn(value=1e300)), "model_damaged", "Layer `drawn` (Dense)"),
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
        yield f"an initial value that is {what}", json.dumps(_chain(_drawn(value=number))), "model_damaged", "has `"
    text = json.dumps(_chain(relu))
    twice = text.replace('"name": "relu"', f'"name": "relu", "name": {json.dumps(path)}')
    yield "two names in one layer", twice, "model_damaged", "has `name` twice"
