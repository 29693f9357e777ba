"""What a judge answers, in words: the headline, and what the answer rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.metrics import METRICS
from heldout.words import LOSS, POINTS, format_signed, format_signed_range, pluralize
from heldout.words.as_good import say_margin
from heldout.words.studies import describe_needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heldout.views.judge import JudgeView
    from heldout.views.study import ConclusionView, NeedsView, StudyView
    from heldout.views.study_figures import JudgeAnswer

_HEADLINES: Mapping[JudgeAnswer, str] = {
    "better": "The candidate is better than the base.",
    "worse": "The candidate is worse than the base.",
    "cannot_tell": "Cannot tell whether the candidate is better or worse.",
    "spent": "All looks of this judge are spent.",
}


def say_headline(answer: JudgeAnswer, margin: float) -> str:
    """Return the answer in at most 12 words."""
    if answer == "as_good":
        return f"The candidate is as good as the base, within {say_margin(margin)}."
    return _HEADLINES[answer]


def explain_answer(study: StudyView, answer: JudgeAnswer, needs: NeedsView) -> str:
    """Say how much changed, over how many seeds; and if the judge cannot tell, what would tell."""
    arm = study.arms[1]
    text = "The trainings could not be compared."
    if study.error is not None:
        text = study.error.detail
    elif arm.difference is not None:
        measure = arm.difference.measures[0]
        unit = POINTS if METRICS[measure].is_share else LOSS
        change, bounds = arm.difference.get(measure), arm.difference.adjusted_intervals.get(measure)
        name = study.metric or METRICS[measure].name
        between = "" if bounds is None else f", very likely between {format_signed_range(unit, change, bounds)}"
        unit_name = " points" if unit is POINTS else ""
        text = (
            f"Over {pluralize(arm.seeds, 'seed')} each, {name} on validation images changes by "
            f"{format_signed(unit, change, bounds)}{unit_name}{between.replace(' to ', ' and ')}."
        )
    return f"{text} {describe_needs(needs)}" if answer == "cannot_tell" else text


# --- a judge that keeps the labels -------------------------------------------------------------------------

ATTEMPTS: Mapping[str, str] = {
    "base": "the base",
    "better": "surely better",
    "cannot_tell": "not surely better",
    "spent": "no look left",
    "refused": "not judged",
}
HOW_TO_READ_ATTEMPTS = (
    "A candidate that is surely better becomes the best so far. Of others, nothing else is known: they may be worse."
)


def say_unlisted(attempts: int) -> str:
    """Say how many attempts the list leaves out."""
    return f"Not listed: {pluralize(attempts, 'older attempt')} without a judgement."


def describe_judge(judge: JudgeView, conclusion: ConclusionView | None) -> tuple[str, str]:
    """The headline and the summary of a judge, while it is open and at its close."""
    if conclusion is not None:
        return say_close(conclusion.kind, conclusion.remedy), conclusion.explanation
    if judge.best is None:
        return "The judge waits for the base.", "Send the answers of the base first. It spends no look."
    left = judge.looks - judge.spent
    headline = f"{left:,} of {judge.looks:,} looks are left." if left else "All looks of this judge are spent."
    return headline, f"The best so far is {quote_candidate(judge.best)}. The test images are still sealed."


def say_close(kind: str, remedy: str | None) -> str:
    """Return the headline of a closed judge."""
    if remedy is None:
        return "No candidate was surely better than the base."
    how = {"better": "is better than", "as_good": "is as good as", "worse": "is worse than"}.get(kind)
    if how is None:
        return f"Test cannot tell whether {quote_candidate(remedy)} is better."
    return f"On test, {quote_candidate(remedy)} {how} the base."


def explain_better(best: str, gain: float) -> str:
    """Say that a candidate is surely better."""
    least = f" by at least {say_margin(gain)}" if gain else ""
    return f"It is surely better than {quote_candidate(best)}, the best so far,{least} on images like the sealed ones."


def explain_not_surely(best: str, differing: int, images: int, detectable: float, seeds: int) -> str:
    """Say that a candidate is not surely better, and what would have told.

    detectable: the gain that would have told with one training. Several trainings differ among themselves, too; how
    much is not reported, because it would say something about the labels.
    """
    points = f"{100 * detectable:.1f} points"
    told = (
        f"A gain of about {points} or more would have told."
        if seeds == 1
        else f"A gain below about {points} could not have told. The more trainings differ, the more it takes."
    )
    return (
        f"It is not surely better than {quote_candidate(best)}, the best so far, from which it differs on "
        f"{differing:,} of {images:,} images. {told}"
    )


def explain_too_similar(best: str, differing: int, needed: int) -> str:
    """Say why a near copy of the best so far is not judged."""
    return (
        f"It differs from {quote_candidate(best)}, the best so far, on {pluralize(differing, 'image')}; an answer "
        f"needs at least {needed:,}. No look was spent. Send a candidate that differs more."
    )


def explain_close(candidate: str | None, change: float, bounds: tuple[float, float], images: int, attempts: int) -> str:
    """Say what the test images show of the best candidate."""
    if candidate is None and not attempts:
        return "No candidate was judged, so the test images were not read."
    if candidate is None:
        return f"None of {pluralize(attempts, 'judged candidate')} was surely better, so the test images were not read."
    if not images:
        return f"{quote_candidate(candidate)} is surely better on the sealed images. There are no test images."
    between = format_signed_range(POINTS, change, bounds).replace(" to ", " and ")
    return (
        f"On {images:,} test images, read once, {quote_candidate(candidate)} changes accuracy by "
        f"{format_signed(POINTS, change, bounds)} points, very likely between {between}."
    )


def quote_candidate(name: str) -> str:
    """Return a candidate's name in quotes."""
    return f'"{name}"'
