"""Ids that sort by the time of their making."""

from ulid import ULID


def make_id(prefix: str) -> str:
    """For example `job_01jd…`: the prefix, then a ULID in lower case."""
    return f"{prefix}_{str(ULID()).lower()}"


def is_id(prefix: str, text: str) -> bool:
    """Whether `text` has the form of such an id."""
    head, separator, tail = text.partition("_")
    return bool(separator) and head == prefix and len(tail) == 26 and tail.isascii() and tail.isalnum()
