"""The change of a dataset that fixes a finding, as a body for `POST /v1/datasets/{id}/versions`."""

from collections.abc import Mapping, Sequence
from typing import Any

from heldout.fixes.bodies import LOOK_ALIKES, Body, combine_bodies
from heldout.stored.audit import AuditFinding
from heldout.stored.gap import LabelsRenamed, PixelsUndone

DROP_COPIES: Mapping[str, Any] = {"drop_copies": True}
RESPLIT: Mapping[str, Any] = {"resplit": True}
# Audit findings that are always fixed by the same change.
_ALWAYS: Mapping[str, Mapping[str, Any]] = {
    "leakage": DROP_COPIES,
    "label_conflicts": DROP_COPIES,
    "duplicates": DROP_COPIES,
    "group_across_splits": RESPLIT,
    "class_missing": RESPLIT,
    "class_shift": RESPLIT,
}
# Codes that imply the change, for audits of earlier releases that do not name it.
_CHANGE_OF_CODE = {"inverted_values": "invert", "channel_order_mismatch": "swap_channels"}
# Kinds of pixel changes without parameters that a training may have undone.
_CHANGE_OF_KIND = {"inversion": "invert", "channel_order": "swap_channels"}


def make_offers(findings: Sequence[AuditFinding]) -> list[Body | None]:
    """For each audit finding, the change that fixes it; None if no change of the stored images can.

    Labels in another order are fixed before copies are dropped: otherwise copies seem to contradict each other, and
    none of them would be kept.
    """
    offers = [make_offer(finding) for finding in findings]
    in_order = [offer for offer in offers if offer is not None and "rename_classes" in offer]
    return [
        combine_bodies([offer, *in_order]) if offer is not None and "drop_copies" in offer else offer
        for offer in offers
    ]


def make_offer(finding: AuditFinding) -> Body | None:
    """The change that fixes a single finding."""
    numbers = finding.numbers
    if finding.code == LOOK_ALIKES:
        return {"exclude": sorted({image.index for pair in finding.pairs for image in pair})}
    if finding.code == "blank_images":
        return {"exclude": numbers["rows"]} if "rows" in numbers else None
    if finding.code in _ALWAYS:
        return dict(_ALWAYS[finding.code])
    if finding.code == "label_order_mismatch":
        return offer_renaming(numbers.get("split", "test"), numbers.get("renamed", {}))
    undone_by = numbers.get("undone_by")
    if undone_by is None and finding.code in _CHANGE_OF_CODE:
        undone_by = {numbers.get("split", "test"): _CHANGE_OF_CODE[finding.code]}
    return None if undone_by is None else {"pixel_values": dict(undone_by)}


def offer_renaming(split: str, meant: Mapping[str, str]) -> Body | None:
    """Rename one split's labels to the classes that they mean."""
    return {"rename_classes": {split: dict(meant)}} if meant else None


def offer_renamed_test(labels: LabelsRenamed, classes: tuple[str, ...]) -> Body | None:
    """The renaming that both halves of the test images chose; None if they differ or class names are unknown."""
    first, second = labels.renamings
    if first is None or first != second or len(classes) != len(first):
        return None
    return offer_renaming(
        "test", {classes[given]: classes[means] for given, means in enumerate(first) if given != means}
    )


def offer_undone_pixels(split: str, pixels: PixelsUndone) -> Body | None:
    """The pixel change that both halves of the split's images chose, with the mean of their parameters.

    None if they differ, or if only some images are altered: a version changes the pixels of whole splits.
    """
    kind, other = pixels.choices
    if kind == "none" or kind != other or pixels.share is not None:
        return None
    if kind in _CHANGE_OF_KIND:
        return {"pixel_values": {split: _CHANGE_OF_KIND[kind]}}
    first, second = pixels.parameters
    # An end of the range counts only if both halves were clipped there.
    means = {
        name: (first.get(name, usual) + second.get(name, usual)) / 2
        for name, usual in (("factor", 1.0), ("offset", 0.0))
    }
    ends = {name: (first[name] + second[name]) / 2 for name in ("bottom", "top") if name in first and name in second}
    changes = {name: value for name, value in means.items() if value != {"factor": 1.0, "offset": 0.0}[name]} | ends
    return {"pixel_values": {split: changes}} if changes else None
