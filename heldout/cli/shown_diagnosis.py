"""Prints audits of datasets with the commands that fix what they found, and diagnoses with their gap."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heldout.cli.screen import print_fields, print_table, say, say_prose
from heldout.fixes.bodies import LOOK_ALIKES, list_options
from heldout.words import LOSS, NONE, POINTS, format_signed, format_signed_range, percent

if TYPE_CHECKING:
    from heldout.views.audit import AuditFindingView, AuditView
    from heldout.views.dataset import EffectView
    from heldout.views.diagnosis import CauseView, DiagnosisView, GapBudgetView
    from heldout.views.job import JobView

SHOWN_EXAMPLES = 5
MAX_COMMAND_CHARACTERS = 150


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


def format_fix_command(dataset: str, body: Mapping[str, Any], finding: str | None = None) -> str:
    """Return the command that orders this change; if it is long and fixes a finding, by the finding's code."""
    options = list_options(body)
    command = None if options is None else shlex.join(["heldout", "datasets", "fix", dataset, *options])
    if finding is not None and (command is None or len(command) > MAX_COMMAND_CHARACTERS):
        return shlex.join(["heldout", "datasets", "fix", dataset, "--from-finding", finding])
    return command or f"POST /v1/datasets/{dataset}/versions {json.dumps(body)}"


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


def show_diagnosis(diagnosis: DiagnosisView) -> None:
    """Print what is wrong and what to do, then the details: figures, the gap term by term, findings with remedies."""
    from heldout.diagnosis.causes import CAVEATS
    from heldout.words.data_and_models import describe_calibration
    from heldout.words.labels import get_verdict_name

    if diagnosis.headline:
        say_prose(diagnosis.headline)
        say_prose(diagnosis.summary)
        say("")
    if diagnosis.figures:
        print_fields([(figure.name.lower(), figure.line) for figure in diagnosis.figures])
        say("")
    if len(diagnosis.causes) > 1:
        say("What to fix, in order:")
        for number, cause in enumerate(diagnosis.causes, 1):
            say_prose(f"{number}. {get_verdict_name(cause.code)}{_format_size(cause)}: {cause.what_to_do}".rstrip(": "))
        say("")
    say(_build_verdict_line(diagnosis))
    trials = ""
    if diagnosis.confidence is not None:
        trials = f" In our trials with planted faults, {percent(diagnosis.confidence, 0)} of such verdicts were right."
    say_prose(diagnosis.explanation + trials)
    for file in diagnosis.left_out:
        say_prose(f"Left out, {file.code}: {file.detail}")
    for caveat in diagnosis.caveats:
        # A newer service may know others.
        say_prose(f"Caveat, {caveat}: {CAVEATS.get(caveat, 'some figures are not what they seem, see below.')}")
    if diagnosis.gap is not None:
        say("")
        show_gap(diagnosis.gap)
    if (found := diagnosis.calibration) is not None:
        say("")
        say_prose(describe_calibration(found.split, found.temperature, found.error_before, found.error_after))
    after = {cause.code: cause.figure_after.explanation for cause in diagnosis.causes if cause.figure_after is not None}
    for finding in diagnosis.findings:
        say("")
        say(f"{finding.severity}: {finding.code}")
        if finding.explanation not in diagnosis.explanation:
            say_prose(finding.explanation, "  ")
        if finding.code in after and finding.severity != "info":
            say_prose(after[finding.code], "  ")
        for remedy in finding.remedies:
            say_prose(f"{remedy.name}: {remedy.reason}", "  ")
            if remedy.request is not None:
                say(f"    {format_fix_command(remedy.request.path.split('/')[3], remedy.request.body)}")


def say_what_cures(job: JobView, diagnosis: DiagnosisView) -> None:
    """Print the commands that the findings need: to list wrong labels, to try one remedy, or to measure several."""
    from heldout.remedies.arms import CURABLE

    offered = [remedy.name for finding in diagnosis.findings for remedy in finding.remedies if remedy.patch]
    has_wrong_labels = any(finding.code == "label_noise" for finding in diagnosis.findings)
    if diagnosis.verdict in CURABLE or offered or has_wrong_labels:
        say("")
    if has_wrong_labels:
        name = f"{job.dataset.name}@{job.dataset.version}"
        say(f"`heldout datasets suspects {name} --csv fixes.csv` lists the labels that look wrong.")
    if offered:
        say(f"`heldout train --from {job.id} --remedy {offered[0]}` trains once with that remedy, and compares.")
    if diagnosis.verdict in CURABLE:
        say(f"`heldout cure {job.id}` measures what cures that: it trains with several remedies, and compares.")
    if diagnosis.verdict == "too_little_data":
        say(f"`heldout curve {job.id}` measures what more training images would bring.")


def _build_verdict_line(diagnosis: DiagnosisView) -> str:
    """`too_little_data (likely, best epoch 9)`."""
    known: list[str] = [diagnosis.certainty] if diagnosis.certainty else []
    if diagnosis.best_epoch is not None:
        known.append(f"best epoch {diagnosis.best_epoch}")
    if diagnosis.onset_epoch is not None:
        known.append(f"worse from epoch {diagnosis.onset_epoch} on")
    return diagnosis.verdict + (f" ({', '.join(known)})" if known else "")


def _format_size(cause: CauseView) -> str:
    """Format ` (26.0 points)`; empty if unknown or zero."""
    size = f"{100 * (cause.points or 0):.1f}"
    return "" if float(size) == 0 else f" ({size} points)"


def show_gap(gap: GapBudgetView) -> None:
    """Print the gap from training to test, term by term, without terms of zero."""
    from heldout.words.labels import TERMS

    rows = [
        (
            TERMS[term.code].name,
            format_signed(POINTS, term.accuracy, term.accuracy_interval),
            format_signed_range(POINTS, term.accuracy, term.accuracy_interval),
            format_signed(LOSS, term.loss),
            term.finding or NONE,
        )
        for term in gap.terms
        if not term.is_nothing
    ]
    losses = [term.loss for term in gap.terms if term.loss is not None]
    loss_gap = sum(losses) if len(losses) == len(gap.terms) else None
    rows.append(
        (
            "training to test",
            format_signed(POINTS, gap.train.accuracy - gap.test.accuracy),
            "",
            format_signed(LOSS, loss_gap),
            "",
        )
    )
    print_table(("GAP", "POINTS LOST", "95% INTERVAL", "LOSS ADDED", "FINDING"), rows, right=(1, 3))
