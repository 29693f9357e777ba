"""Plain values in the config of an uploaded network: numbers, names and lists of them, within bounds.

Refusals say where a value is, what was received and what is expected.
"""

import json
from collections.abc import Iterator
from typing import Any

from heldout.lifecycle.resources import ModelRejectionCode
from worker.ingest.rejection import clean_name
from worker.training.refusal import ModelRefused

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
