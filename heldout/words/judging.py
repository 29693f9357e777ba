"""What a judge answers, in words: the headline, and what the answer rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.metrics import METRICS
from heldout.words import LOSS, POINTS, format_signed, format_signed_range, pluralize
from heldout.words.as_good import say_margin
from heldout.words.studies import describe_needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heldout.views.study import NeedsView, StudyView
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
