"""Reads Keras models, as `.keras` files or as JSON: all content is checked before Keras rebuilds the model."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from pathlib import Path
from traceback import walk_tb
from typing import Any

import h5py
import keras
import tensorflow as tf

from heldout.lifecycle.resources import ModelRejectionCode
from worker.ingest.rejection import clean_name, format_size
from worker.training.model_files.keras_config import read_network
from worker.training.model_files.keras_graph import make_chain_refusal
from worker.training.model_files.keras_json import (
    NotPlainJson,
    is_architecture,
    parse_json,
    read_architecture,
    require_keras_3,
)
from worker.training.model_files.keras_parts import iterate_parts
from worker.training.model_files.refusal import ModelRefused, make_damaged

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
MAX_CONFIG_BYTES = 16 * 1024**2
# Weights are stored uncompressed, so a file hardly grows when unpacked.
MAX_GROWTH = 20
MAX_ARRAYS = 200_000
# Only numbers: a network has no arrays of objects, strings or references. Keras stores bfloat16 as opaque bytes.
_KINDS = "fiubV"
# Deflate, shuffle and checksums; HDF5 looks for any other filter in a folder of plug-ins.
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_SAVE_AGAIN = "Save the model again with `model.save('model.keras')`."


@dataclass(frozen=True)
class FileNetwork:
    """The network of a file, as read by `keras_config.read_network`.

    made_by: the Keras release that wrote the file. has_weights: False for an architecture alone.
    """

    config: dict[str, Any]
    made_by: str
    has_weights: bool = True


def load_model(file: Path) -> keras.Model:
    """Rebuild the model of a file from parts of Keras only, with its weights but not its training state.

    An architecture alone gets random weights, as its initializers make them.

    Raises:
        ModelRefused: the file has anything else, or its parts do not fit together.
    """
    network = read_file(file)
    if not network.has_weights:
        model = build_model(network.config)
        _require_input(model)
        return model
    with tempfile.TemporaryDirectory(prefix="weights-") as folder:
        try:
            with zipfile.ZipFile(file) as archive:
                weights = Path(archive.extract(WEIGHTS, folder))
        except (zipfile.BadZipFile, EOFError) as error:
            raise _make_not_unpacked() from error
        require_plain_weights(weights)
        model = build_model(network.config)
        _require_input(model)  # a model without one has no weights yet
        _fill(model, weights)
    return model


def _require_input(model: keras.Model) -> None:
    if not getattr(model, "inputs", None):
        raise ModelRefused(
            ModelRejectionCode.NOT_FOR_IMAGES,
            "The model does not declare its input. Begin it with `keras.Input((height, width, channels))`.",
        )


def read_file(file: Path) -> FileNetwork:
    """Read the network that a `.keras` file or the JSON of `model.to_json()` describes, without building it.

    Raises:
        ModelRefused: the file is neither of both, is damaged, or has parts that `keras_parts` does not list.
    """
    if is_architecture(file):
        return FileNetwork(read_network(read_architecture(file)), "keras", has_weights=False)
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(archive, file.stat().st_size)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise _make_not_unpacked() from error


def build_model(config: dict[str, Any]) -> keras.Model:
    """Have Keras build the result of `read_network`.

    Raises:
        ModelRefused: its layers do not fit together.
    """
    try:
        return keras.saving.deserialize_keras_object(deepcopy(config), safe_mode=True)  # it modifies its config
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except RecursionError as error:
        raise make_chain_refusal(config) from error
    except Exception as error:  # anything that wrong arguments make Keras raise
        raise make_damaged(
            f"{_find_first_unbuildable(config)} Keras {keras.__version__} reads models that it or an earlier release "
            f"saved. {_SAVE_AGAIN}",
        ) from error


def require_known_state(config: dict[str, Any]) -> None:
    """Refuse an architecture alone with a layer that has learned from data what its config does not have.

    Raises:
        ModelRefused.
    """
    for part in iterate_parts(config):
        if part["class_name"] == "Normalization" and part["config"].get("mean") is None:
            raise ModelRefused(
                ModelRejectionCode.MISSING_STATE,
                f"Layer `{clean_name(str(part['config'].get('name')), 60)}` (Normalization) learns its mean and "
                "variance by `adapt`, and an architecture alone does not have them. Give it `mean` and `variance`, use "
                '`Rescaling`, or upload the `.keras` file (in Python, `weights="uploaded"`).',
            )


def require_size(config: dict[str, Any], most_parameters: int | None, limit: str) -> None:
    """Refuse a network that has too many parameters before Keras makes them: here, its variables have only shapes.

    Args:
        config: the result of `read_network`.
        most_parameters: None for any number. limit: where the number comes from, for the message.
    Raises:
        ModelRefused: it has more, or its layers do not fit together.
    """
    if most_parameters is None:
        return
    with keras.StatelessScope(initialize_variables=False):
        model = build_model(config)
        sizes = {layer: sum(prod(weight.shape) for weight in layer.weights) for layer in model.layers}
    # Otherwise the next scope would make the variables after all.
    keras.utils.clear_session()
    parameters = sum(prod(weight.shape) for weight in model.weights)
    if parameters > most_parameters:
        layer = max(sizes, key=lambda layer: sizes[layer])
        raise ModelRefused(
            ModelRejectionCode.MODEL_TOO_LARGE,
            f"The model has {parameters:,} parameters, of which layer `{clean_name(layer.name, 60)}` "
            f"({type(layer).__name__}) has {sizes[layer]:,}; expected at most {most_parameters:,}, {limit}. Use fewer "
            "filters or units, or global average pooling before dense layers.",
        )


def _find_first_unbuildable(config: dict[str, Any]) -> str:
    """Say which layer Keras cannot build. Its own message would quote the file."""
    for part in iterate_parts(config):
        name = part["config"].get("name") if isinstance(part.get("config"), dict) else None
        if "layers" in part.get("config", {}) or not isinstance(name, str) or part["class_name"].endswith("Policy"):
            continue
        try:
            keras.saving.deserialize_keras_object(part, safe_mode=True)
        except Exception:  # noqa: BLE001 - the failure is the answer
            return f"Layer `{clean_name(name, 60)}` ({part['class_name']}) cannot be built with its arguments."
    return _find_first_uncallable(config)


def _find_first_uncallable(config: dict[str, Any]) -> str:
    """Say which layer fails on what it gets: the innermost one that was at work when Keras gave up."""
    failed = None
    with name_failed_layers():
        try:
            keras.saving.deserialize_keras_object(deepcopy(config), safe_mode=True)
        except Exception as error:  # noqa: BLE001 - its way is the answer
            failed = find_failed_layer(error)
    if failed is None:
        return "The layers of the model do not fit together."
    return (
        f"Layer `{clean_name(failed.name, 60)}` ({type(failed).__name__}) does not fit what the layers before it give."
    )


@contextmanager
def name_failed_layers() -> Iterator[None]:
    """Keep Keras' own frames in tracebacks while the block runs, for `find_failed_layer`."""
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        keras.config.enable_traceback_filtering()


def find_failed_layer(error: BaseException | None) -> keras.Operation | None:
    """Return the innermost layer that was being called, or built, when Keras raised an error."""
    found = None
    while error is not None:
        for frame, _ in walk_tb(error.__traceback__):
            at_work = frame.f_locals.get("self")
            if isinstance(at_work, keras.Operation) and not isinstance(at_work, keras.Model):
                found = at_work
        error = error.__cause__
    return found


def _fill(model: keras.Model, weights: Path) -> None:
    try:
        model.load_weights(weights)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # anything that a file with wrong arrays makes Keras raise
        raise make_damaged(f"The weights of the file do not fit its layers. {_SAVE_AGAIN}") from error


def _read(archive: zipfile.ZipFile, size_bytes: int) -> FileNetwork:
    members = [member.filename for member in archive.infolist()]
    if not {CONFIG, WEIGHTS} <= set(members):
        raise ModelRefused(
            ModelRejectionCode.NOT_A_MODEL,
            f"The file is an archive without `{CONFIG}` and `{WEIGHTS}`, so it is not a `.keras` file. {_SAVE_AGAIN}",
        )
    if len(members) != len(set(members)):
        raise make_damaged(f"The file has two members with the same name. {_SAVE_AGAIN}")
    unpacked = sum(member.file_size for member in archive.infolist())
    most = max(MAX_GROWTH * size_bytes, MAX_CONFIG_BYTES)
    if unpacked > most or archive.getinfo(CONFIG).file_size > MAX_CONFIG_BYTES:
        code = ModelRejectionCode.MODEL_TOO_LARGE
        raise ModelRefused(
            code,
            f"The file unpacks to {format_size(unpacked)}; expected at most {format_size(most)}, of which `{CONFIG}` "
            f"has at most {format_size(MAX_CONFIG_BYTES)}. {_SAVE_AGAIN}",
        )
    try:
        config = parse_json(archive.read(CONFIG))
        metadata = parse_json(archive.read(METADATA)) if METADATA in members else {}
        release = clean_name(str(metadata.get("keras_version", ""))[:40])
    except NotPlainJson as error:
        raise make_damaged(f"`{CONFIG}` or `{METADATA}` has {error}. {_SAVE_AGAIN}") from error
    except (ValueError, RecursionError, AttributeError) as error:
        raise make_damaged(f"`{CONFIG}` or `{METADATA}` is not JSON. {_SAVE_AGAIN}") from error
    require_keras_3(config)
    try:
        return FileNetwork(read_network(config), f"keras {release}".strip())
    except ModelRefused as refused:
        raise _explain_release(refused, release) from refused


def _explain_release(refused: ModelRefused, release: str) -> ModelRefused:
    """Add that the file was written by a later release of Keras than this one, if it was."""
    if _parse_release(release) <= _parse_release(keras.__version__):
        return refused
    return ModelRefused(
        refused.code,
        f"{refused.detail} The file was written by Keras {release}, and this service has Keras {keras.__version__}, "
        "which may lack what is new. Save the model with that release or an earlier one.",
    )


def _parse_release(release: str) -> tuple[int, ...]:
    """Return the first numbers of a release, 3.15 for "3.15.1", and nothing for what is none."""
    return tuple(int(part) for part in release.split(".")[:2] if part.isdigit() and len(part) < 6)


def require_plain_weights(file: Path) -> None:
    """Refuse HDF5 with more than arrays of numbers: it can refer to other files, and claim huge sizes.

    Raises:
        ModelRefused.
    """
    try:
        with h5py.File(file, "r") as weights:
            _require_plain(weights, max(MAX_GROWTH * file.stat().st_size, MAX_CONFIG_BYTES))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise make_damaged(f"`{WEIGHTS}` is not HDF5, or is cut off. {_SAVE_AGAIN}") from error


def _require_plain(weights: h5py.File, most_bytes: int) -> None:
    left, seen, held_bytes = [weights["/"]], {_get_address(weights["/"])}, 0
    while left:
        group = left.pop()
        for name in group:
            is_hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
            found = group[name] if is_hard else None
            if isinstance(found, h5py.Group):
                # A group can contain itself.
                if _get_address(found) not in seen:
                    seen.add(_get_address(found))
                    left.append(found)
            elif isinstance(found, h5py.Dataset) and _is_plain(found):
                held_bytes += found.nbytes
                seen.add(_get_address(found))
            else:
                code = ModelRejectionCode.UNSAFE_MODEL
                shown = clean_name(name, 60)
                raise ModelRefused(code, f"`{shown}` among the weights is not an array of numbers in the file itself.")
            if held_bytes > most_bytes or len(seen) > MAX_ARRAYS:
                code = ModelRejectionCode.MODEL_TOO_LARGE
                detail = (
                    f"The weights unpack to more than {format_size(most_bytes)}, or are more than {MAX_ARRAYS:,} "
                    "arrays."
                )
                raise ModelRefused(code, f"{detail} {_SAVE_AGAIN}")


def _is_plain(array: h5py.Dataset) -> bool:
    if array.is_virtual or array.external or array.dtype.kind not in _KINDS or array.dtype.fields is not None:
        return False
    created = array.id.get_create_plist()
    return all(created.get_filter(number)[0] in _FILTERS for number in range(created.get_nfilters()))


def _get_address(found: h5py.Group | h5py.Dataset) -> int:
    return int(h5py.h5o.get_info(found.id).addr)


def _make_not_unpacked() -> ModelRefused:
    return make_damaged(f"The file is cut off or damaged: it cannot be unpacked. {_SAVE_AGAIN}")
