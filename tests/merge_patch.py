"""Applies a remedy's patch to a job's spec."""

from typing import Any


def merged(spec: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    before = spec if isinstance(spec, dict) else {}
    changed = {name: merged(before.get(name), value) for name, value in patch.items() if value is not None}
    return {name: value for name, value in before.items() if name not in patch} | changed
