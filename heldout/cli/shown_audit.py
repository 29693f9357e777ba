"""Prints audits of datasets with the commands that fix what they found."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heldout.cli.screen import say, say_prose
from heldout.fixes.bodies import LOOK_ALIKES, format_fix_command

if TYPE_CHECKING:
    from heldout.views.audit import AuditFindingView, AuditView
    from heldout.views.dataset import EffectView

SHOWN_EXAMPLES = 5


def show_audit(audit: AuditView) -> None:
    """Print the headline and what to do, then what a derived version changed, what was left out, and the findings."""
    if audit.headline:
        say_prose(audit.headline)
        say_prose(audit.summary)
        say("")
    if changes := audit.source.get("changes"):
        say(f"made from {changes['from']}: {changes['summary']}")
    show_left_out(audit.source)
    if audit.findings or not audit.headline:
        show_findings(audit.findings, f"{audit.dataset.name}@{audit.dataset.version}")
    if audit.question is not None:
        page, _, part = audit.question.page.partition("#")
        say_prose(f"{audit.question.text} See docs/{page.removesuffix('.html')}.md#{part}.")
    if audit.labels is not None:
        say_prose(audit.labels.explanation)


def show_findings(findings: Sequence[AuditFindingView], dataset: str) -> None:
    """Print an audit's findings, most serious first, or say that it found nothing."""
    if not findings:
        say("The audit found nothing.")
    for finding in findings:
        say_prose(f"{finding.severity}: {finding.code}: {finding.explanation}")
        say_prose(finding.what_to_do, "  ")
        if finding.fix is not None:
            say(f"  {format_fix_command(dataset, finding.fix, finding.code)}")
        if finding.effect is not None:
            say(f"  {finding.effect.summary}")
        is_question = finding.code == LOOK_ALIKES
        if is_question and finding.fix is not None:
            say(f"  {shlex.join(['heldout', 'datasets', 'different', dataset, '--all'])}")
        sign = "~" if is_question else "="
        for first, second in finding.pairs[:SHOWN_EXAMPLES]:
            say(f"  {first.split} {first.member} {sign} {second.split} {second.member}")
        if len(finding.pairs) > SHOWN_EXAMPLES:
            say(f"  and {len(finding.pairs) - SHOWN_EXAMPLES:,} more (--json lists them)")
        if not finding.pairs:
            for example in finding.examples[:SHOWN_EXAMPLES]:
                say(f"  {example.split} {example.member}")


def show_effect(effect: EffectView) -> None:
    """Print how many images of which split a change removes or changes, and the first of them."""
    say(effect.summary)
    shown = (("removed", effect.removed, effect.removes), ("changed", effect.changed, effect.changes))
    for what, images, count in shown:
        for image in images[:SHOWN_EXAMPLES]:
            say(f"  {what}: {image.split} {image.member or image.index}")
        total = count.train + count.validation + count.test
        if total > SHOWN_EXAMPLES:
            say(f"  and {total - SHOWN_EXAMPLES:,} more {what}")


def show_left_out(source: Mapping[str, Any]) -> None:
    """Print parts of the upload that the dataset lacks, and interpretations that may be wrong."""
    cut = [split for split, origin in source.get("splits", {}).items() if origin.startswith("cut from")]
    if cut:
        say(f"{' and '.join(cut)} split{'s' if len(cut) > 1 else ''} cut from the training images at random")
    passed_over = source.get("passed_over") or {"count": 0, "names": []}
    for part in [*source.get("left_out", []), {"what": "files that are not images", **passed_over}]:
        if part["count"]:
            names = ", ".join(part["names"][:SHOWN_EXAMPLES])
            more = f" and {part['count'] - SHOWN_EXAMPLES:,} more" if part["count"] > SHOWN_EXAMPLES else ""
            say(f"left out: {part['what']}: {part['count']:,} ({names}{more})")
    for note in source.get("notes", ()):
        say(f"note: {note}")
