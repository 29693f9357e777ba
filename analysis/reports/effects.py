"""What a difference means: better, worse, or perhaps chance. The adjusted intervals decide."""

from typing import Literal

from analysis.reports.figures import LOSS, OF_100_IMAGES, Unit, change, change_range
from heldout.views.study import ArmView, DifferenceView, Interval
from heldout.views.study_report import Effect

Side = Literal["better", "worse", "may_be_chance"]

EFFECT_WORDS: dict[Effect, str] = {
    "better": "surely better",
    "worse": "surely worse",
    "mixed": "better in one measure, worse in the other",
    "may_be_chance": "may be chance",
}


def side_of(bounds: Interval, *, is_rise_better: bool) -> Side:
    """On which side of 0 an interval lies."""
    if bounds is None or bounds[0] <= 0 <= bounds[1]:
        return "may_be_chance"
    return "better" if (bounds[0] > 0) == is_rise_better else "worse"


def accuracy_side(difference: DifferenceView) -> Side:
    return side_of(difference.adjusted_intervals.accuracy, is_rise_better=OF_100_IMAGES.is_rise_better)


def loss_side(difference: DifferenceView) -> Side:
    return side_of(difference.adjusted_intervals.loss, is_rise_better=LOSS.is_rise_better)


def effect_of(difference: DifferenceView | None) -> Effect | None:
    if difference is None:
        return None
    sides = {accuracy_side(difference), loss_side(difference)}
    if sides >= {"better", "worse"}:
        return "mixed"
    return "better" if "better" in sides else "worse" if "worse" in sides else "may_be_chance"


def accuracy_of(arm: ArmView) -> float:
    """By which arms are put in order: their difference in accuracy; not yet compared ones come last."""
    if arm.difference is None or arm.difference.accuracy is None:
        return float("-inf")
    return arm.difference.accuracy


def explanation_of(arm: ArmView) -> str:
    """What came of an arm, in a sentence or two that name both measures."""
    if arm.difference is None:
        return "Not compared yet." if arm.why is None else "It could not be compared."
    told = f"{accuracy_told(arm.difference)}; {loss_told(arm.difference)}."
    return told[0].upper() + told[1:]


def accuracy_told(difference: DifferenceView) -> str:
    """`3.1 more of 100 unseen images are answered correctly (very likely 1.4 to 4.8 more)`."""
    return _told(
        OF_100_IMAGES,
        difference.accuracy,
        difference.adjusted_intervals.accuracy,
        "{} of 100 unseen images are answered correctly",
        "as many",
        "how many images are answered correctly is not known",
    )


def loss_told(difference: DifferenceView) -> str:
    """`the loss is 0.121 lower (very likely 0.060 to 0.182 lower)`."""
    return _told(
        LOSS,
        difference.loss,
        difference.adjusted_intervals.loss,
        "the loss is {}",
        "the same",
        "the loss is not a finite number",
    )


def very_likely(unit: Unit, value: float | None, bounds: Interval) -> str:
    """`very likely 1.4 to 4.8 more`."""
    if bounds is None:
        return "too few trainings to say how much of that is chance"
    return f"very likely {change_range(unit, value, bounds)}"


def _told(unit: Unit, value: float | None, bounds: Interval, sentence: str, same: str, unknown: str) -> str:
    if value is None:
        return unknown
    if value == 0:
        beside = "" if bounds in (None, (0.0, 0.0)) else f" ({very_likely(unit, value, bounds)})"
        return f"{sentence.format(same)}{beside}"
    return f"{sentence.format(change(unit, value, bounds))} ({very_likely(unit, value, bounds)})"
