"""Combines bodies of changes, and converts them to command-line options. Loads quickly: `--help` needs it too."""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Body = dict[str, Any]

MAX_COMMAND_CHARACTERS = 150

SPLITS = ("train", "validation", "test")
LOOK_ALIKES = "look_alikes"  # code of the audit's finding about images that may show different things


def combine_bodies(bodies: Iterable[Mapping[str, Any]]) -> Body:
    """Combine the changes of all bodies; of two pixel changes for one split, the first wins."""
    found: Body = {}
    for body in bodies:
        for name, change in body.items():
            if isinstance(change, Mapping) and isinstance(found.get(name), dict):
                found[name] = {**change, **found[name]}
            else:
                found.setdefault(name, change)
    return found


def list_options(body: Mapping[str, Any]) -> list[str] | None:
    """List the equivalent options of `heldout datasets fix`; None if a file is needed."""
    if body.keys() & {"exclude", "relabel", "columns", "name"}:
        return None
    options = ["--drop-copies"] if body.get("drop_copies") else []
    for label, meant in _iterate_renamed_labels(body.get("rename_classes", {})):
        if "=" in label:
            return None
        options += ["--rename-classes", f"{label}={meant}"]
    for split in SPLITS:
        change = body.get("pixel_values", {}).get(split)
        if isinstance(change, Mapping):
            change = ",".join(f"{name}:{value!r}" for name, value in change.items())
        if change is not None:
            options += ["--pixel-values", f"{split}={change}"]
    if resplit := body.get("resplit"):
        options.append("--resplit")
        for name, value in resplit.items() if isinstance(resplit, Mapping) else ():
            options += [f"--{name}", str(value)]
    return options


def format_fix_command(dataset: str, body: Mapping[str, Any], finding: str | None = None) -> str:
    """Return the command that orders this change; if it is long and fixes a finding, by the finding's code."""
    options = list_options(body)
    command = None if options is None else shlex.join(["heldout", "datasets", "fix", dataset, *options])
    if finding is not None and (command is None or len(command) > MAX_COMMAND_CHARACTERS):
        return shlex.join(["heldout", "datasets", "fix", dataset, "--from-finding", finding])
    return command or f"POST /v1/datasets/{dataset}/versions {json.dumps(body)}"


def _iterate_renamed_labels(renamed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for old, new in renamed.items():
        if isinstance(new, Mapping):
            yield from ((f"{old}:{label}", meant) for label, meant in new.items())
        else:
            yield old, new
