"""Reads the JSON of `model.to_json()` and of `.keras` files, and the plain values in it, within bounds."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heldout.lifecycle.resources import FIRST_BYTES, MAX_ARCHITECTURE_BYTES, ModelRejectionCode, begins_as_architecture
from worker.ingest.rejection import clean_name, format_size
from worker.training.refusal import ModelRefused, make_damaged


class NotPlainJson(ValueError):
    """JSON that readers understand differently. The text says what it has."""


def is_architecture(file: Path) -> bool:
    """Whether a file begins like JSON."""
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


MAX_DEPTH = 40  # of nested values; inner networks have their layers below them
MAX_NUMBERS = 100_000  # of all lists and constants together
MAX_WHOLE = 2**24
MAX_NUMBER = 1e300
MAX_NAME = 500


class ConfigValues:
    """Reads values of one config and counts them. `place` describes the position of a value."""

    def __init__(self) -> None:
        self._numbers = self._depth = 0

    def enter(self, value: list[Any], place: str) -> Iterator[Any]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise too_much(place, f"more than {MAX_DEPTH} lists inside each other")
        yield from value
        self._depth -= 1

    def read_number(self, value: Any, place: str) -> Any:
        self._numbers += 1
        if self._numbers > MAX_NUMBERS:
            raise too_much(place, f"more than {MAX_NUMBERS:,} numbers in arguments")
        # Neither infinity nor NaN is within the limit.
        if value is not None and not (isinstance(value, int | float) and abs(value) <= MAX_NUMBER):
            raise unfit(place, value, "a finite number")
        return value

    def read_numbers(self, value: Any, place: str) -> Any:
        """Read a number, or nested lists of numbers."""
        if isinstance(value, list):
            return [self.read_numbers(item, place) for item in self.enter(value, place)]
        return self.read_number(value, place)

    def read_wholes(self, value: Any, place: str) -> Any:
        if isinstance(value, list):
            return [self.read_wholes(item, place) for item in self.enter(value, place)]
        if value is None or is_whole(value, -MAX_WHOLE, MAX_WHOLE):
            return self.read_number(value, place)
        raise unfit(place, value, f"whole numbers up to {MAX_WHOLE:,}")

    def read_flag(self, value: Any, place: str) -> Any:
        if value is None or isinstance(value, bool):
            return value
        raise unfit(place, value, "true or false")

    def read_seed(self, value: Any, place: str) -> Any:
        if value is None or is_whole(value, 0, 2**63):
            return value
        raise unfit(place, value, "a whole number")

    def read_name(self, value: Any, place: str) -> Any:
        if value is None or (isinstance(value, str) and len(value) <= MAX_NAME):
            return value
        raise unfit(place, value, f"a name of up to {MAX_NAME} characters")

    def require_absent(self, value: Any, place: str) -> Any:
        if value:
            raise unfit(place, value, "nothing")
        return value


def is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def capital(place: str) -> str:
    return place[:1].upper() + place[1:]


def unsafe(detail: str) -> ModelRefused:
    return ModelRefused(ModelRejectionCode.UNSAFE_MODEL, detail)


def unfit(place: str, value: Any, expected: str) -> ModelRefused:
    try:
        shown = clean_name(json.dumps(value)[:400], 80)
    except (ValueError, RecursionError):
        shown = "something else"
    return unsafe(f"{capital(place)} is {shown}; expected {expected}. Save the model again.")


def too_much(place: str, what: str) -> ModelRefused:
    return unsafe(f"{capital(place)} is where the model has {what}. Build it from fewer parts.")
