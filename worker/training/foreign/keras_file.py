"""A `.keras` file before Keras reads it: what is in it, and whether it holds more than Keras' own layers."""

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py

from heldout.model_lifecycle import ModelRejectionCode
from worker.ingest.rejection import amount, printable
from worker.training.foreign.refusal import ModelRefused
from worker.training.keras_parts import part_not_own

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
MAX_CONFIG_BYTES = 64 * 1024**2
# Weights are stored as they are, so that a file hardly grows.
MAX_GROWTH = 20
_SAVE_AGAIN = "Save the model again with `model.save('model.keras')`."


def examine(file: Path) -> str:
    """Refuse a file that is no `.keras` file, that is damaged, or that holds more than Keras' own parts.

    Returns: the Keras release that has written it.
    Raises:
        ModelRefused.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _examine(archive, file.stat().st_size)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        code = ModelRejectionCode.MODEL_DAMAGED
        raise ModelRefused(code, f"The file cannot be unpacked ({type(error).__name__}). {_SAVE_AGAIN}") from error


def _examine(archive: zipfile.ZipFile, size_bytes: int) -> str:
    names = set(archive.namelist())
    if not {CONFIG, WEIGHTS} <= names:
        raise ModelRefused(
            ModelRejectionCode.NOT_A_MODEL,
            f"The file is an archive without `{CONFIG}` and `{WEIGHTS}`, so it is no `.keras` file. {_SAVE_AGAIN}",
        )
    unpacked = sum(one.file_size for one in archive.infolist())
    most = max(MAX_GROWTH * size_bytes, MAX_CONFIG_BYTES)
    if unpacked > most or archive.getinfo(CONFIG).file_size > MAX_CONFIG_BYTES:
        code = ModelRejectionCode.MODEL_TOO_LARGE
        raise ModelRefused(code, f"The file unpacks to {amount(unpacked)}, more than {amount(most)}. {_SAVE_AGAIN}")
    try:
        config = json.loads(archive.read(CONFIG))
        metadata = json.loads(archive.read(METADATA)) if METADATA in names else {}
        release = str(metadata.get("keras_version", ""))[:40]
    except (ValueError, RecursionError, AttributeError) as error:
        code = ModelRejectionCode.MODEL_DAMAGED
        raise ModelRefused(code, f"`{CONFIG}` or `{METADATA}` is not JSON. {_SAVE_AGAIN}") from error
    if not isinstance(config, dict):
        raise ModelRefused(ModelRejectionCode.MODEL_DAMAGED, f"`{CONFIG}` describes no model. {_SAVE_AGAIN}")
    # How it was trained is not read, so that a loss of one's own does no harm.
    _require_own_parts({name: part for name, part in config.items() if name != "compile_config"})
    _require_plain_weights(archive)
    return f"keras {release}".strip()


def _require_own_parts(config: dict[str, Any]) -> None:
    found = part_not_own(config)
    if found is None:
        return
    shown = printable(found.name, 60)
    if found.is_unsafe:
        raise ModelRefused(
            ModelRejectionCode.UNSAFE_MODEL,
            f"The model has {shown}, which holds program code or reads files beside the model. Replace it by "
            "layers of Keras, such as `Rescaling`, and save the model again.",
        )
    raise ModelRefused(
        ModelRejectionCode.CUSTOM_OBJECT,
        f"The model has {shown}, which is not Keras' own. Replace it by layers of Keras, or export the model as ONNX.",
    )


def _require_plain_weights(archive: zipfile.ZipFile) -> None:
    """HDF5 can name other files of the machine that reads it."""
    try:
        with h5py.File(BytesIO(archive.read(WEIGHTS)), "r") as weights:
            _require_plain(weights)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        code = ModelRejectionCode.MODEL_DAMAGED
        raise ModelRefused(code, f"`{WEIGHTS}` is not HDF5, or is cut off. {_SAVE_AGAIN}") from error


def _require_plain(group: h5py.Group) -> None:
    for name in group:
        link = group.get(name, getlink=True)
        found = group[name] if isinstance(link, h5py.HardLink) else None
        is_elsewhere = isinstance(found, h5py.Dataset) and (found.is_virtual or bool(found.external))
        if found is None or is_elsewhere:
            code = ModelRejectionCode.UNSAFE_MODEL
            raise ModelRefused(code, f"The weights refer to another file or place ({printable(name, 60)}).")
        if isinstance(found, h5py.Group):
            _require_plain(found)
