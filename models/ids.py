"""Ids that sort by creation time."""

from ulid import ULID


def make_id(prefix: str) -> str:
    """Make an id such as `job_01jd…`: the prefix, then a ULID in lower case."""
    return f"{prefix}_{str(ULID()).lower()}"


def is_id(prefix: str, text: str) -> bool:
    """Return whether `text` is a well-formed id with this prefix."""
    head, separator, tail = text.partition("_")
    return bool(separator) and head == prefix and len(tail) == 26 and tail.isascii() and tail.isalnum()
