"""Merge patches of JSON documents (RFC 7396). Pure."""

from collections.abc import Mapping
from typing import Any


def merge(document: Any, patch: Any) -> Any:
    """A JSON document under a merge patch. Source: RFC 7396."""
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
    """The patch that makes one JSON document of another one. A null of `after` counts as an absent value."""
    patch: dict[str, Any] = {}
    for name in {**before, **after}:
        old, value = before.get(name), after.get(name)
        if value == old:
            continue
        if isinstance(value, Mapping):
            value = make_patch(old if isinstance(old, Mapping) else {}, value)
        patch[name] = value
    return patch
