"""Figures of a study's arms: means, differences from the base, and their intervals."""

from typing import Any, Literal

from pydantic import Field

from heldout.metrics import MEASURES, METRICS, Measure
from heldout.stored.results import Figure
from heldout.views.base import View

Interval = tuple[float, float] | None
Side = Literal["better", "worse", "may_be_chance"]
Effect = Literal["better", "worse", "mixed", "may_be_chance"]
# Whether an arm is as good as the base within a margin.
Answer = Literal["as_good", "worse", "cannot_tell"]
# Whether a candidate is better than the base, as good or worse; `spent`: no look is left.
JudgeAnswer = Literal["better", "as_good", "worse", "cannot_tell", "spent"]

# An interval of fewer seeds spans tens of points, so it is only shown if it proves something all the same.
MIN_SEEDS_OF_RANGE = 3


def find_side(bounds: Interval, measure: Measure) -> Side:
    """Find the side of 0 on which an interval of differences lies. A lower loss or cost is better."""
    if bounds is None or bounds[0] <= 0 <= bounds[1]:
        return "may_be_chance"
    return "better" if (bounds[0] > 0) == METRICS[measure].is_share else "worse"


def get_figure(view: Any, measure: Measure) -> Any:
    """Return the part of a view that belongs to a measure: `loss`, `accuracy`, or the `objective`."""
    return getattr(view, measure if measure in MEASURES else "objective")


class IntervalsView(View):
    """95% intervals; null if unknown, or if there are too few seeds or images for one."""

    loss: Interval = None
    accuracy: Interval = None
    objective: Interval = None

    def get(self, measure: Measure) -> Interval:
        """Return the interval of a measure."""
        found: Interval = get_figure(self, measure)
        return found


class ArmFiguresView(View):
    """Means over the arm's seeds, for the kept weights."""

    loss: Figure
    accuracy: Figure
    objective: Figure = Field(None, description="The study's `objective`, if that is neither accuracy nor loss.")
    intervals: IntervalsView

    def get(self, measure: Measure) -> float | None:
        """Return the figure of a measure."""
        found: float | None = get_figure(self, measure)
        return found


class DifferenceView(View):
    """An arm's mean minus the base's, on the same images, seeds and folds. Lower loss or higher accuracy is better.

    With an `objective`, other measures are null: `validation` still has accuracy and loss.
    """

    loss: Figure
    accuracy: Figure
    objective: Figure = Field(None, description="The difference in `measure`.")
    measure: Measure | None = Field(None, description="The `objective`, if that is neither accuracy nor loss.")
    intervals: IntervalsView = Field(description="Single intervals: each is right in 95 of 100 comparisons.")
    adjusted_intervals: IntervalsView = Field(
        description="Wider, because several remedies and two measures, or the `objective`, are compared: in 95 of 100 "
        "studies, all of a study's intervals are right at once. These decide."
    )

    def side(self, measure: Measure, *, adjusted: bool = True) -> Side:
        """Return the side of 0 on which the interval of one measure lies."""
        return find_side((self.adjusted_intervals if adjusted else self.intervals).get(measure), measure)

    def get(self, measure: Measure) -> float | None:
        """Return the difference in one measure."""
        found: float | None = get_figure(self, measure)
        return found

    @property
    def measures(self) -> list[Measure]:
        """The measures that were compared."""
        if self.measure is not None:
            return [self.measure]
        return [measure for measure in MEASURES if self.get(measure) is not None]

    @property
    def benefit(self) -> float | None:
        """What arms are ordered by: the change of accuracy, or of the objective, positive if it is better."""
        if self.measure is None or self.objective is None:
            return self.accuracy
        return self.objective if METRICS[self.measure].is_share else -self.objective

    @property
    def effect(self) -> Effect:
        """The effect according to all measures together."""
        sides = {self.side(measure) for measure in self.measures}
        if sides >= {"better", "worse"}:
            return "mixed"
        return "better" if "better" in sides else "worse" if "worse" in sides else "may_be_chance"
