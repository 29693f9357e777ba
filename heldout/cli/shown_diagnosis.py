"""Prints a diagnosis and the gap that it is about as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.cli.audits import format_fix_command
from heldout.cli.screen import print_table, say, say_prose
from heldout.words import LOSS, NONE, POINTS, format_signed, format_signed_range, percent

if TYPE_CHECKING:
    from heldout.views.diagnosis import CauseView, DiagnosisView, GapBudgetView


def show_diagnosis(diagnosis: DiagnosisView) -> None:
    """Print what is wrong and what to do, then the details: figures, the gap term by term, findings with remedies."""
    from heldout.diagnosis.causes import CAVEATS
    from heldout.words.data_and_models import describe_calibration
    from heldout.words.labels import get_verdict_name

    if diagnosis.headline:
        say_prose(diagnosis.headline)
        say_prose(diagnosis.summary)
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


def say_what_cures(job_id: str, diagnosis: DiagnosisView) -> None:
    """Print commands that try one remedy, and that measure several, if a change of the spec can cure the verdict."""
    from heldout.remedies.arms import CURABLE

    offered = [remedy.name for finding in diagnosis.findings for remedy in finding.remedies if remedy.patch]
    if diagnosis.verdict in CURABLE or offered:
        say("")
    if offered:
        say(f"`heldout train --from {job_id} --remedy {offered[0]}` trains once with that remedy, and compares.")
    if diagnosis.verdict in CURABLE:
        say(f"`heldout cure {job_id}` measures what cures that: it trains with several remedies, and compares.")
    if diagnosis.verdict == "too_little_data":
        say(f"`heldout curve {job_id}` measures what more training images would bring.")


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
