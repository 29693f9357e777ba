"""JSON pointers (RFC 6901), which name the field of a refusal."""

from collections.abc import Sequence


def make_pointer(path: Sequence[str | int]) -> str:
    """Make a JSON pointer such as `/network/blocks/0`; characters that UTF-8 cannot encode are escaped."""
    return (
        "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
        .encode("utf-8", "backslashreplace")
        .decode("utf-8")
    )
