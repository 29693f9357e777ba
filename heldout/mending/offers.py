"""Which change of a dataset cures a finding: the very body that `POST /v1/datasets/{id}/versions` takes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from heldout.stored.audit import AuditFinding
from heldout.stored.evaluation import SPLIT_NAMES
from heldout.stored.gap import LabelsRenamed, PixelsUndone

Body = dict[str, Any]

DROP_COPIES: Mapping[str, Any] = {"drop_copies": True}
RESPLIT: Mapping[str, Any] = {"resplit": True}
# Findings of an audit that the same change always cures.
_ALWAYS: Mapping[str, Mapping[str, Any]] = {
    "leakage": DROP_COPIES,
    "label_conflicts": DROP_COPIES,
    "duplicates": DROP_COPIES,
    "group_across_splits": RESPLIT,
    "class_missing": RESPLIT,
    "class_shift": RESPLIT,
}
# Codes that say the change, also in audits of earlier releases, which do not name it.
_CHANGE_OF_CODE = {"inverted_values": "invert", "channel_order_mismatch": "swap_channels"}
# Of what a training has undone, the kinds that have no numbers.
_CHANGE_OF_KIND = {"inversion": "invert", "channel_order": "swap_channels"}


def offer_of(finding: AuditFinding) -> Body | None:
    """What cures a finding of an audit; None where no change of the stored images does."""
    numbers = finding.numbers
    if finding.code in _ALWAYS:
        return dict(_ALWAYS[finding.code])
    if finding.code == "label_order_mismatch":
        return renaming(numbers.get("split", "test"), numbers.get("renamed", {}))
    undone_by = numbers.get("undone_by")
    if undone_by is None and finding.code in _CHANGE_OF_CODE:
        undone_by = {numbers.get("split", "test"): _CHANGE_OF_CODE[finding.code]}
    return None if undone_by is None else {"pixel_values": dict(undone_by)}


def renaming(split: str, meant: Mapping[str, str]) -> Body | None:
    """One split's labels as the classes that they mean."""
    return {"rename_classes": {split: dict(meant)}} if meant else None


def renamed_test(labels: LabelsRenamed, classes: tuple[str, ...]) -> Body | None:
    """What both halves of the test images have chosen; None where they differ, or the classes' names are not known."""
    first, second = labels.renamings
    if first is None or first != second or len(classes) != len(first):
        return None
    return renaming("test", {classes[given]: classes[means] for given, means in enumerate(first) if given != means})


def undone_test_pixels(pixels: PixelsUndone) -> Body | None:
    """What both halves of the test images have chosen, with the mean of their numbers; None where they differ."""
    kind, other = pixels.choices
    if kind == "none" or kind != other:
        return None
    if kind in _CHANGE_OF_KIND:
        return {"pixel_values": {"test": _CHANGE_OF_KIND[kind]}}
    first, second = pixels.parameters
    # Where only one half was cut off at an end, the other says nothing of it.
    means = {
        name: (first.get(name, usual) + second.get(name, usual)) / 2
        for name, usual in (("factor", 1.0), ("offset", 0.0))
    }
    ends = {name: (first[name] + second[name]) / 2 for name in ("bottom", "top") if name in first and name in second}
    changes = {name: value for name, value in means.items() if value != {"factor": 1.0, "offset": 0.0}[name]} | ends
    return {"pixel_values": {"test": changes}} if changes else None


def combined(bodies: Iterable[Mapping[str, Any]]) -> Body:
    """One body that makes the changes of all; of two for the pixels of one split the first."""
    found: Body = {}
    for body in bodies:
        for name, change in body.items():
            if isinstance(change, Mapping) and isinstance(found.get(name), dict):
                found[name] = {**change, **found[name]}
            else:
                found.setdefault(name, change)
    return found


def options_of(body: Mapping[str, Any]) -> list[str] | None:
    """The options of `heldout datasets mend` that order the same; None where they need a file."""
    if body.keys() & {"exclude", "relabel", "name"}:
        return None
    options = ["--drop-copies"] if body.get("drop_copies") else []
    for label, meant in _renamed_labels(body.get("rename_classes", {})):
        if "=" in label:
            return None
        options += ["--rename-classes", f"{label}={meant}"]
    for split in SPLIT_NAMES:
        change = body.get("pixel_values", {}).get(split)
        if change is not None:
            options += ["--pixel-values", f"{split}={_said(change)}"]
    if resplit := body.get("resplit"):
        options.append("--resplit")
        for name, value in resplit.items() if isinstance(resplit, Mapping) else ():
            options += [f"--{name}", str(value)]
    return options


def _renamed_labels(renamed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for old, new in renamed.items():
        if isinstance(new, Mapping):
            yield from ((f"{old}:{label}", meant) for label, meant in new.items())
        else:
            yield old, new


def _said(change: str | Mapping[str, float]) -> str:
    if isinstance(change, str):
        return change
    return ",".join(f"{name}:{value!r}" for name, value in change.items())
