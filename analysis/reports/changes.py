"""What an arm changes in the base spec, field by field, and whether the change is a remedy of the catalog."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from heldout.errors import InvalidSpec
from heldout.remedies.arms import JOINT, resolve_remedy
from heldout.remedies.catalogue import REMEDIES
from heldout.remedies.change import NoChange, RemedyBase
from heldout.spec.documents import merge
from heldout.spec.job import JobSpec
from heldout.views.study import ArmView


def apply_patch(base: JobSpec, patch: Mapping[str, Any]) -> JobSpec | None:
    """The base spec with a merge patch applied, or None if the result is not a valid spec."""
    try:
        return JobSpec.model_validate(merge(base.model_dump(mode="json"), patch))
    except ValidationError:
        return None


def describe_changes(base: JobSpec, patch: Mapping[str, Any]) -> list[str]:
    """`training.label_smoothing: 0 → 0.1`; a change shared by all blocks of the network is listed once."""
    before = base.model_dump(mode="json")
    changed = apply_patch(base, patch)
    after = merge(before, patch) if changed is None else changed.model_dump(mode="json")
    given = after if changed is None else changed.model_dump(mode="json", exclude_defaults=True)
    blocks = len(before["network"].get("blocks") or ())
    found = list(_iterate_differences(before, after, given, ""))
    lines: list[str] = []
    for path, *values in found:
        shared = _generalize_path(path)
        if shared is not None and blocks > 1:
            alike = [
                changed_path
                for changed_path, *others in found
                if _generalize_path(changed_path) == shared and others == values
            ]
            path = shared if len(alike) == blocks else path
        line = f"{path}: {' → '.join(map(_format_value, values))}"
        if line not in lines:
            lines.append(line)
    return lines


def describe_parameters(arm: ArmView) -> list[str]:
    """`dropout: 0.3` for each parameter of an arm whose trainings run elsewhere."""
    return [f"{name}: {_format_value(value)}" for name, value in arm.patch.items()]


def _is_of_catalogue(arm: ArmView, spec: JobSpec) -> bool:
    """Whether the arm does what this release means by its name. A user's own patch may have the same name."""
    if any(part not in REMEDIES for part in arm.name.split(JOINT)):
        return False
    try:
        outcome = resolve_remedy(arm.name, RemedyBase(spec.model_dump(mode="json"), None))
    except InvalidSpec:
        return False
    return not isinstance(outcome, NoChange) and arm.patch in (outcome.patch, *outcome.candidates)


def make_arm_order(arm: ArmView, spec: JobSpec) -> str | dict[str, Any]:
    """The arm for the body of a study: its name if that gives the same arm, else with its patch."""
    if JOINT in arm.name or _is_of_catalogue(arm, spec):
        return arm.name
    return {"name": arm.name, "patch": arm.patch}


def explain_idea(arm: ArmView, spec: JobSpec) -> str | None:
    """Why the remedy may help, for someone who has never trained a network."""
    if not _is_of_catalogue(arm, spec):
        return None
    return " ".join(REMEDIES[part].reason for part in arm.name.split(JOINT))


def _iterate_differences(before: Any, after: Any, given: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Paths whose values differ, with both values. given: `after` without defaults, or None if all is default."""
    if isinstance(before, dict) and isinstance(after, dict):
        named = given if isinstance(given, dict) else {}
        for name in [*before, *(name for name in after if name not in before)]:
            inner = f"{path}.{name}" if path else name
            yield from _iterate_differences(before.get(name), after.get(name), named.get(name), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        places = given if isinstance(given, list) else [None] * len(after)
        for place, values in enumerate(zip(before, after, places, strict=True)):
            yield from _iterate_differences(*values, f"{path}[{place}]")
    elif before != after:
        yield path, before, given or after  # an object with only defaults is shown completely


def _generalize_path(path: str) -> str | None:
    """`network.blocks[all].dropout` for `network.blocks[1].dropout`, or None for other paths."""
    start = "network.blocks["
    if not path.startswith(start):
        return None
    _, _, rest = path.removeprefix(start).partition("]")
    return f"{start}all]{rest}"


def _format_value(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
