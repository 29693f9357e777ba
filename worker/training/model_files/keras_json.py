"""Reads the JSON of `model.to_json()` and of `.keras` files."""

import json
import math
from pathlib import Path
from typing import Any

from heldout.lifecycle.resources import FIRST_BYTES, MAX_ARCHITECTURE_BYTES, ModelRejectionCode, begins_as_architecture
from worker.ingest.rejection import clean_name, format_size
from worker.training.model_files.refusal import ModelRefused, make_damaged


class NotPlainJson(ValueError):
    """JSON that readers understand differently. The text says what it has."""


def is_architecture(file: Path) -> bool:
    """Return whether a file begins like JSON."""
    with file.open("rb") as opened:
        return begins_as_architecture(opened.read(FIRST_BYTES))


def read_architecture(file: Path) -> dict[str, Any]:
    """Read the config of a network that `model.to_json()` has written, without checking its parts.

    Raises:
        ModelRefused.
    """
    size_bytes = file.stat().st_size
    if size_bytes > MAX_ARCHITECTURE_BYTES:
        raise ModelRefused(
            ModelRejectionCode.MODEL_TOO_LARGE,
            f"The JSON has {format_size(size_bytes)}; an architecture has at most "
            f"{format_size(MAX_ARCHITECTURE_BYTES)}. Write it with `model.to_json()`, without large constants.",
        )
    try:
        config: dict[str, Any] = parse_json(file.read_bytes())
    except NotPlainJson as error:
        detail = f"The JSON has {error}. Write it with `model.to_json()`."
        raise make_damaged(detail) from error
    except (ValueError, RecursionError) as error:
        detail = "The file begins like JSON, but is not JSON. Write it with `model.to_json()`."
        raise make_damaged(detail) from error
    require_keras_3(config)
    if not {"module", "class_name", "config"} <= config.keys():
        raise ModelRefused(
            ModelRejectionCode.NOT_A_MODEL,
            "The JSON has no `module`, `class_name` and `config`, so it is not the architecture of a network. Write it "
            "with `model.to_json()`.",
        )
    return config


def parse_json(content: bytes) -> Any:
    """Parse JSON that every reader understands alike: no name twice in one object, and only finite numbers.

    Raises:
        NotPlainJson.
        ValueError, RecursionError: it is not JSON, or too deep.
    """
    return json.loads(
        content.decode("utf-8-sig"),
        object_pairs_hook=_make_object,
        parse_constant=_refuse_constant,
        parse_float=_parse_float,
    )


def require_keras_3(config: Any) -> None:
    """Refuse a config of Keras 2, which names no modules. Raises ModelRefused."""
    if isinstance(config, dict) and "class_name" in config and "module" not in config:
        release = clean_name(str(config.get("keras_version", "2"))[:40])
        raise ModelRefused(
            ModelRejectionCode.OLD_FORMAT,
            f"The architecture is of Keras {release}; expected Keras 3. Load the model with Keras 3, or build it there "
            "again, and write it with `model.to_json()` or `model.save('model.keras')`.",
        )


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotPlainJson(f"`{clean_name(twice, 60)}` twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise NotPlainJson(f"`{name}`, which is not a number of JSON")


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotPlainJson(f"`{clean_name(text, 30)}`, which is too large a number")
    return number
