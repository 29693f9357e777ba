"""JSON pointers (RFC 6901): how a refusal names the field that it is about."""

from collections.abc import Sequence


def make_pointer(path: Sequence[str | int]) -> str:
    """The path as a JSON pointer, such as `/network/blocks/0`; characters that UTF-8 cannot hold become escapes."""
    return (
        "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
        .encode("utf-8", "backslashreplace")
        .decode("utf-8")
    )
