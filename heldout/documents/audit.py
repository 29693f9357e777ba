"""The audit of a dataset as blocks: what is wrong with its images, which ones show it, and what fixes it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from heldout.documents.blocks import (
    Action,
    Block,
    Document,
    Heading,
    Image,
    ImageGroup,
    Images,
    Paragraph,
    strip_code,
)
from heldout.fixes.bodies import LOOK_ALIKES, format_fix_command
from heldout.words.labels import SEVERITIES, name_audit_finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from heldout.views.audit import AuditFindingView, AuditView
    from heldout.views.dataset import EffectView, ExampleView

SHOWN_PAIRS, SHOWN_NAMES = 6, 5


def lay_out_audit(audit: AuditView) -> Document:
    return Document(f"Audit of {strip_code(audit.dataset.name)}@{audit.dataset.version}", build_audit(audit))


def build_audit(audit: AuditView) -> list[Block]:
    """Build the headline and what to do, what a derived version changed, what was left out, and the findings."""
    blocks: list[Block] = [Heading(audit.headline or ("Audit" if audit.findings else "The audit found nothing."))]
    blocks += [Paragraph(audit.summary, "sentence")] if audit.summary else []
    if changes := audit.source.get("changes"):
        blocks.append(Paragraph(strip_code(f"Made from {changes['from']}: {changes['summary']}"), "hint"))
    blocks += [Paragraph(strip_code(note), "hint") for note in list_notes(audit.source)]
    for finding in audit.findings:
        blocks += _build_finding(finding, audit.dataset.id, f"{audit.dataset.name}@{audit.dataset.version}")
    if audit.question is not None:
        page, _, part = audit.question.page.partition("#")
        manual = f"docs/{page.removesuffix('.html')}.md#{part}"
        label = "How to name images that belong together"
        blocks += [Paragraph(audit.question.text), Action(label, manual, f"/manual/{audit.question.page}")]
    if audit.labels is not None:
        blocks.append(Paragraph(audit.labels.explanation))
    return [*blocks, *(Paragraph(f"Left out (`{file.code}`): {file.detail}", "caution") for file in audit.left_out)]


def _build_finding(finding: AuditFindingView, dataset: str, name: str) -> list[Block]:
    name_of_finding = name_audit_finding(finding.code)
    blocks: list[Block] = [Heading(name_of_finding, 3, finding.code, [SEVERITIES[finding.severity]])]
    blocks += [Paragraph(finding.explanation), Paragraph(finding.what_to_do, "hint")]
    asks = finding.code == LOOK_ALIKES and finding.fix is not None
    if finding.fix is not None:
        page = f"/datasets/{dataset}?{urlencode({'fix': json.dumps(finding.fix, separators=(',', ':'))})}"
        label = f"Leave them out: {len(finding.fix.get('exclude', ())):,} images" if asks else "Fix it"
        note = "" if finding.effect is None else finding.effect.summary
        blocks.append(Action(label, format_fix_command(name, finding.fix, finding.code), page, note=note))
    reasons: Sequence[str] = finding.numbers.get("reasons", ())
    groups = [
        ImageGroup([_show(first), _show(second)], _tell_apart(dataset, name, [(first, second)]) if asks else None)
        for first, second in finding.pairs
    ] or [
        ImageGroup([_show(example, reasons[place] if place < len(reasons) else "")])
        for place, example in enumerate(finding.examples)
    ]
    if asks:
        blocks.append(_tell_apart(dataset, name, finding.pairs[: 2 * SHOWN_PAIRS]))
    if groups:
        shown = SHOWN_PAIRS if finding.pairs and not asks else 2 * SHOWN_PAIRS
        blocks.append(Images(groups, "~" if finding.code == LOOK_ALIKES else "=", shown))
    return blocks


def _tell_apart(dataset: str, name: str, pairs: Sequence[tuple[ExampleView, ExampleView]]) -> Action:
    label = "They are different" if len(pairs) == 1 else f"All {len(pairs):,} shown are different"
    command = shlex.join(["heldout", "datasets", "different", name, "--all"])
    body = {"pairs": [[first.index, second.index] for first, second in pairs]}
    return Action(label, command, "", f"/v1/datasets/{dataset}/different", body)


def _show(image: ExampleView, note: str = "") -> Image:
    name = image.member or f"image {image.index}"
    return Image(image.thumbnail, name if name.startswith(f"{image.split}/") else f"{image.split} {name}", note)


def build_effect(effect: EffectView) -> list[Block]:
    """Say how many images of which split a change removes or changes, and the first of them."""
    blocks: list[Block] = [Paragraph(effect.summary)]
    for what, images, counts in (
        ("Removed", effect.removed, effect.removes),
        ("Changed", effect.changed, effect.changes),
    ):
        if images:
            total = counts.train + counts.validation + counts.test
            blocks.append(Paragraph(f"{what}: {total:,}"))
            blocks.append(Images([ImageGroup([_show(image)]) for image in images]))
    return blocks


def list_notes(source: Mapping[str, Any]) -> list[str]:
    """Parts of the upload that the dataset lacks, and interpretations that may be wrong."""
    notes = []
    cut = [split for split, origin in source.get("splits", {}).items() if origin.startswith("cut from")]
    if cut:
        splits = f"{' and '.join(cut)} split{'s' if len(cut) > 1 else ''}"
        notes.append(f"{splits} cut from the training images at random")
    passed_over = source.get("passed_over") or {"count": 0, "names": []}
    for part in [*source.get("left_out", []), {"what": "files that are not images", **passed_over}]:
        if part["count"]:
            names = ", ".join(part["names"][:SHOWN_NAMES])
            more = f" and {part['count'] - SHOWN_NAMES:,} more" if part["count"] > SHOWN_NAMES else ""
            notes.append(f"left out: {part['what']}: {part['count']:,} ({names}{more})")
    return [*notes, *(f"note: {note}" for note in source.get("notes", ()))]
