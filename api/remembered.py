"""What was looked up a moment ago, for requests that take less than another look."""

import time
from typing import Generic, TypeVar

# So long a key that was revoked may still be answered.
REMEMBERED_S = 1.0
MAX_REMEMBERED = 10_000

Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Values by their keys, each for a second. For one thread."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[Value, float]] = {}

    def get(self, key: Key) -> Value | None:
        """None where it is not known, or not any more."""
        known = self._known.get(key)
        return None if known is None or known[1] < time.monotonic() else known[0]

    def keep(self, key: Key, value: Value) -> Value:
        """Give the value back."""
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = value, time.monotonic() + REMEMBERED_S
        return value
