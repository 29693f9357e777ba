"""The change of a dataset that fixes a finding, as a body for `POST /v1/datasets/{id}/versions`; and look-alikes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from heldout.fixes.bodies import LOOK_ALIKES, Body, combine_bodies
from heldout.fixes.changes import Index
from heldout.spec.part import SpecPart
from heldout.stored.audit import AuditExample, AuditFinding
from heldout.stored.evaluation import SPLIT_NAMES
from heldout.stored.gap import TURNS, LabelsRenamed, PixelsUndone
from heldout.words import pluralize

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
# How splits can differ by nature, unless a change of pixel values undoes it.
_DIFFERENCES = {"split_shift", "class_shift"}
# Codes that imply the change, for audits of earlier releases that do not name it.
_CHANGE_OF_CODE = {"inverted_values": "invert", "channel_order_mismatch": "swap_channels"}
# Kinds of pixel changes without parameters that a training may have undone.
_CHANGE_OF_KIND: Mapping[str, str] = {
    "inversion": "invert",
    "channel_order": "swap_channels",
    **{turn: turn for turn in TURNS},
}


def make_offers(findings: Sequence[AuditFinding]) -> list[Body | None]:
    """For each audit finding, the change that fixes it; None if no change of the stored images can.

    Labels in another order are fixed before copies are dropped: otherwise copies seem to contradict each other, and
    none of them would be kept. Pixel values are undone before, if copies only show then. Splits that share copies and
    also differ are all split again: without the copies alone, they would still differ.
    """
    offers = [make_offer(finding) for finding in findings]
    if share_copies_and_differ(findings):
        offers = [
            dict(RESPLIT) if finding.code == "leakage" else offer
            for finding, offer in zip(findings, offers, strict=True)
        ]
    in_order = [offer for offer in offers if offer is not None and "rename_classes" in offer]
    undone = [offer for offer in offers if offer is not None and "pixel_values" in offer]
    return [
        combine_bodies([offer, *in_order, *(undone if "undone" in finding.numbers else ())])
        if offer is not None and "drop_copies" in offer
        else offer
        for finding, offer in zip(findings, offers, strict=True)
    ]


def share_copies_and_differ(findings: Sequence[AuditFinding]) -> bool:
    """Return whether splits share copies and also differ, in a way that no other change undoes."""
    codes = {finding.code for finding in findings if finding.severity != "info"}
    fixed_otherwise = codes & {"label_order_mismatch"} or any("undone_by" in finding.numbers for finding in findings)
    return "leakage" in codes and bool(codes & _DIFFERENCES) and not fixed_otherwise


def advise_resplit(images: int | None, copied: int | None) -> str:
    """Say what splitting all images again does. copied: images with a copy in another split; None if unknown."""
    every = "all images" if images is None else f"all {images:,} images"
    together = "copies stay together in one split"
    if copied:
        together = f"the {pluralize(copied, 'image')} with a copy in another split {'stays' if copied == 1 else 'stay'}"
        together += " together with it" if copied == 1 else " together with their copies"
    return (
        f"Split {every} again: {together}, and no image is lost. Removing the copies alone would leave splits that "
        "differ."
    )


def advise(finding: AuditFinding, fix: Body | None, images: int) -> str:
    """Say what to do about a finding of the audit. images: how many the dataset has."""
    if finding.code == "leakage" and fix == RESPLIT:
        return advise_resplit(images, count_copied(finding.numbers))
    return finding.what_to_do


def count_copied(numbers: Mapping[str, Any]) -> int:
    """Count the images with a copy in another split, from the numbers of a finding about leakage."""
    parts = (part for name, part in numbers.items() if isinstance(part, Mapping) and name != "test_in_validation")
    return sum(part.get("images", 0) for part in parts)


def make_offer(finding: AuditFinding) -> Body | None:
    """Make the change that fixes a single finding."""
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
    """Offer the renaming that both halves of the test images chose; None if they differ or class names are unknown."""
    first, second = labels.renamings
    if first is None or first != second or len(classes) != len(first):
        return None
    return offer_renaming(
        "test", {classes[given]: classes[means] for given, means in enumerate(first) if given != means}
    )


def offer_undone_pixels(split: str, pixels: PixelsUndone) -> Body | None:
    """Offer the pixel change that both halves of the split's images chose, with the mean of their parameters.

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


QUESTION = "Can you tell these apart?"
MAX_PAIRS = 200  # pairs in the finding; once these are answered, the next search shows others
MAX_DIFFERENT = 1000  # pairs that a dataset version remembers
MAX_EXAMPLES = 12

Pair = tuple[AuditExample, AuditExample]
Positions = Annotated[tuple[Index, Index], Field(strict=False)]


class DifferentSpec(SpecPart):
    """Pairs of images that look alike, and whether they are different."""

    pairs: tuple[Positions, ...] = Field(
        min_length=1, max_length=MAX_DIFFERENT, strict=False, description="Positions of two images each."
    )
    different: bool = Field(True, description="`false` removes an earlier mark as different.")


def make_finding(pairs: Sequence[Pair], count: int) -> AuditFinding:
    """Make the finding about pairs that look alike.

    Args:
        pairs: the pairs to show, at most MAX_PAIRS.
        count: how many pairs there are.
    """
    images = {example.index: example for pair in pairs for example in pair}
    of_splits = {split: sum(image.split == split for image in images.values()) for split in SPLIT_NAMES}
    listed = " and ".join(f"{number:,} of {split}" for split, number in of_splits.items() if number)
    more = f" The first {len(pairs):,} are shown." if count > len(pairs) else ""
    return AuditFinding(
        code=LOOK_ALIKES,
        severity="info",
        numbers={"pairs": count, "images": len(images), **of_splits},
        explanation=f"{pluralize(count, 'pair')} of images with different labels look alike.{more} They may be "
        "different things that differ in a detail, or one picture with two labels.",
        what_to_do=f'{QUESTION} If so, answer "They are different", and they are not reported again. If not, leave '
        f"them out: {pluralize(len(images), 'image')} ({listed}).",
        examples=tuple(images[index] for index in sorted(images)[:MAX_EXAMPLES]),
        pairs=tuple(pairs),
    )


def drop_answered(findings: Iterable[AuditFinding], different: Iterable[Sequence[int]]) -> list[AuditFinding]:
    """Drop the pairs of look-alikes that were marked as different since the audit."""
    answered = {tuple(sorted(pair)) for pair in different}
    found = []
    for finding in findings:
        if finding.code == LOOK_ALIKES and answered:
            left = [pair for pair in finding.pairs if tuple(sorted(image.index for image in pair)) not in answered]
            if not left:
                continue
            finding = make_finding(left, finding.numbers["pairs"] - len(finding.pairs) + len(left))
        found.append(finding)
    return found
