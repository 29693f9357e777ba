"""What an arm changes in the base spec, field by field."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from heldout.spec.job import JobSpec
from heldout.spec.merge_patch import merged


def patched(base: JobSpec, patch: Mapping[str, Any]) -> JobSpec | None:
    """The base spec under a merge patch; None where the patch makes no spec of it."""
    try:
        return JobSpec.model_validate(merged(base.model_dump(mode="json"), patch))
    except ValidationError:
        return None


def changes_of(base: JobSpec, patch: Mapping[str, Any]) -> list[str]:
    """`training.label_smoothing: 0 → 0.1`; a change that all blocks of the network share is said once."""
    before = base.model_dump(mode="json")
    changed = patched(base, patch)
    after = merged(before, patch) if changed is None else changed.model_dump(mode="json")
    given = after if changed is None else changed.model_dump(mode="json", exclude_defaults=True)
    blocks = len(before["network"]["blocks"])
    found = list(_differences(before, after, given, ""))
    lines: list[str] = []
    for path, *values in found:
        shared = _path_in_all_blocks(path)
        if shared is not None and blocks > 1:
            alike = [one for one, *others in found if _path_in_all_blocks(one) == shared and others == values]
            path = shared if len(alike) == blocks else path
        line = f"{path}: {' → '.join(map(_written, values))}"
        if line not in lines:
            lines.append(line)
    return lines


def _differences(before: Any, after: Any, given: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Paths whose values differ, with both values. given: `after` without what is default; None where all of it is."""
    if isinstance(before, dict) and isinstance(after, dict):
        named = given if isinstance(given, dict) else {}
        for name in [*before, *(name for name in after if name not in before)]:
            inner = f"{path}.{name}" if path else name
            yield from _differences(before.get(name), after.get(name), named.get(name), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        places = given if isinstance(given, list) else [None] * len(after)
        for place, values in enumerate(zip(before, after, places, strict=True)):
            yield from _differences(*values, f"{path}[{place}]")
    elif before != after:
        yield path, before, given or after  # an object of defaults alone is said whole


def _path_in_all_blocks(path: str) -> str | None:
    """`network.blocks[1].dropout` as `network.blocks[all].dropout`; None for other paths."""
    start = "network.blocks["
    if not path.startswith(start):
        return None
    _, _, rest = path.removeprefix(start).partition("]")
    return f"{start}all]{rest}"


def _written(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
