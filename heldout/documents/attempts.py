"""A judge as blocks: its budget, what was sent to it by whom and when, and its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.blocks import Block, Fact, Heading, Paragraph, Table, keep_known, strip_code
from heldout.words import NONE, percent
from heldout.words.as_good import say_margin
from heldout.words.judging import ATTEMPTS, HOW_TO_READ_ATTEMPTS, say_unlisted

if TYPE_CHECKING:
    from heldout.views.judge import CandidateView, JudgeView

_HEADINGS = ("candidate", "number", "sent by", "at", "answer", "surely gains", "why")


def list_judge_facts(judge: JudgeView) -> list[Fact]:
    return keep_known(
        Fact("Attempts", f"{judge.tried:,}"),
        Fact("Best so far", strip_code(judge.best or "")),
        Fact("Sealed images", f"{judge.validation_images:,}", f"and {judge.test_images:,} for the close"),
        Fact("A false answer", f"at most {percent(judge.error)}", "over all looks together"),
    )


def build_attempts(judge: JudgeView) -> list[Block]:
    """Build the ledger of a judge."""
    rows = [
        (
            strip_code(tried.arm),
            f"{tried.number:,}",
            strip_code(tried.by or NONE),
            f"{tried.at:%Y-%m-%d %H:%M} UTC",
            ATTEMPTS[tried.answer],
            f"{say_margin(tried.gain)} or more" if tried.gain else NONE,
            strip_code(tried.explanation),
        )
        for tried in judge.attempts
    ]
    heading = Heading("What was tried?")
    if not rows:
        return [heading, Paragraph("Nothing was sent yet.")]
    table = Table("Attempts", _HEADINGS, rows, numbers=(1,), remarks=(6,), note=HOW_TO_READ_ATTEMPTS)
    left_out = judge.tried - len(rows)
    return [heading, table, *([Paragraph(say_unlisted(left_out), "hint")] if left_out else [])]


def build_attempt(attempt: CandidateView) -> list[Block]:
    """Build the answer to one candidate."""
    return [
        Heading(f"{strip_code(attempt.arm)}: {ATTEMPTS[attempt.answer]}."),
        Paragraph(attempt.explanation, "sentence"),
    ]
