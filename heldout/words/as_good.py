"""Whether networks are as good as the base within a margin, worded for people who know no statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.metrics import METRICS
from heldout.words import format_duration, pluralize
from heldout.words.changes import format_points
from heldout.words.labels import join_remedies, name_measure, quote_remedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.views.study import ArmView, NeedsView, StudyTestView, StudyView
    from heldout.views.study_figures import Answer, DifferenceView


def say_margin(margin: float) -> str:
    """`1 point`, `0.5 points`."""
    points = f"{100 * margin:g}"
    return f"{points} point" if points == "1" else f"{points} points"


def say_answer(difference: DifferenceView, answer: Answer, margin: float) -> str:
    """`As good within 1 point (−0.6 to +0.4).`"""
    bounds = difference.adjusted_intervals.get(difference.measures[0])
    between = "" if bounds is None else f" ({' to '.join(_format_signed(bound) for bound in bounds)})"
    if answer == "as_good":
        return f"As good within {say_margin(margin)}{between}."
    if answer == "worse":
        return f"Worse by more than {say_margin(margin)}{between}."
    return f"Cannot tell whether it is as good within {say_margin(margin)}{between}."


def _format_signed(share: float) -> str:
    points = f"{100 * share:+.1f}"
    return "0.0" if points in ("+0.0", "-0.0") else points.replace("-", "−")


def explain_answers(arms: Sequence[ArmView], margin: float, chosen: str | None, notes: Sequence[str]) -> str:
    """The answer: which arms are as good, which are worse, and what the smallest one saves.

    Args:
        arms: those that were compared. chosen: the smallest that is as good. notes: further sentences.
    """
    text = []
    for arm in arms:
        assert arm.difference is not None
        assert arm.answer is not None
        said = say_answer(arm.difference, arm.answer, margin)
        text.append(f"{quote_remedy(arm.name)}: {said[0].lower()}{said[1:]}")
    if chosen is not None and sum(arm.answer == "as_good" for arm in arms) > 1:
        text.append(f"{quote_remedy(chosen)} is the smallest of those that are as good.")
    return " ".join([*text, *notes])


def describe_failed(names: Sequence[str]) -> list[str]:
    """Name the arms that could not be compared."""
    return [f"{join_remedies(names)} could not be compared."] if names else []


def describe_needs(needs: NeedsView | None) -> str:
    """Say what would tell."""
    if needs is not None and needs.seeds is not None:
        return f"{pluralize(needs.seeds, 'more seed')} would probably tell."
    if needs is not None and needs.images is not None:
        return f"About {pluralize(needs.images, 'more validation image')} would probably tell; more seeds would not."
    return "It would take unreasonably many seeds or images to tell: allow a larger margin."


def explain_test(test: StudyTestView | None, failed: str | None, margin: float) -> str:
    """Say whether the answer holds on test images."""
    if test is None:
        return "There are no test images to check it on." if failed is None else f"There are no test figures: {failed}"
    measure = test.difference.measures[0]
    bounds, change = test.difference.intervals.get(measure), test.difference.get(measure)
    where = f"On the {test.base.count:,} test images, which had no part in any choice, {name_measure(measure)}"
    moved = "stays the same" if change is None or abs(change) < 0.0005 else f"{_say_moved(change)}"
    if bounds is not None and bounds[1] < -margin:
        return f"{where} {moved}: it does not hold there."
    sure = bounds is not None and bounds[0] > -margin
    return f"{where} {moved}{'' if sure else ', which on its own does not tell'}."


def _say_moved(change: float) -> str:
    return f"{'rises' if change > 0 else 'falls'} by {format_points(change)}"


def phrase_question(study: StudyView, which: str) -> str:
    """Return the question that such a study answers."""
    assert study.margin is not None
    name = METRICS[study.objective or "accuracy"].name
    return f"Is {which} as good as the unchanged network, within {say_margin(study.margin)} of {name}?"


def describe_answer(study: StudyView, name: str, next_step: str) -> tuple[str, str]:
    """The headline and the summary of such a study. name: of the arm that it is about."""
    assert study.margin is not None
    assert study.conclusion is not None
    within = f"within {say_margin(study.margin)}"
    if study.conclusion.kind == "as_good":
        return f"{name} is as good {within}.", f"{_say_saved(study)}{next_step}"
    if study.conclusion.kind == "worse":
        many = len(study.arms) > 2
        return (
            f"{'Every arm' if many else name} is worse than the base.",
            f"It loses more than {say_margin(study.margin)}.",
        )
    return f"The study cannot tell whether it is as good {within}.", describe_needs(study.conclusion.needs)


def _say_saved(study: StudyView) -> str:
    """How much smaller the arm is than the base, and how long each trains."""
    base, arm = study.arms[0], study.winner
    if arm is None:
        return ""
    text = ""
    if base.parameters and arm.parameters:
        text = f"It has {arm.parameters:,} parameters instead of {base.parameters:,}. "
    if base.seconds and arm.seconds:
        times = " instead of ".join(format_duration(seconds) for seconds in (arm.seconds, base.seconds))
        text += f"A training takes {times}. "
    return text
