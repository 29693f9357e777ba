"""JSON documents: pointers (RFC 6901), which name the field of a refusal, and merge patches (RFC 7396). Pure."""

from collections.abc import Mapping, Sequence
from typing import Any


def make_pointer(path: Sequence[str | int]) -> str:
    """Make a JSON pointer such as `/network/blocks/0`; characters that UTF-8 cannot encode are escaped."""
    return (
        "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
        .encode("utf-8", "backslashreplace")
        .decode("utf-8")
    )


def merge(document: Any, patch: Any) -> Any:
    """Apply a merge patch to a JSON document. Source: RFC 7396."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(document) if isinstance(document, Mapping) else {}
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), change)
    return result


def make_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Make the patch that turns one JSON document into another. A null in `after` counts as absent."""
    patch: dict[str, Any] = {}
    for name in {**before, **after}:
        old, value = before.get(name), after.get(name)
        if value == old:
            continue
        if isinstance(value, Mapping):
            value = make_patch(old if isinstance(old, Mapping) else {}, value)
        patch[name] = value
    return patch
