"""Changes of measures, and their figures, as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.metrics import METRICS
from heldout.words import NONE, percent
from heldout.words.labels import name_measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.metrics import Measure
    from heldout.stored.results import MetricResult
    from heldout.views.study_figures import DifferenceView


def format_points(share: float) -> str:
    """Return a difference between accuracies, without its sign."""
    value = f"{abs(100 * share):.1f}"
    return f"{value} point" if value == "1.0" else f"{value} points"


def describe_change(difference: DifferenceView, measure: Measure, base_loss: float | None) -> str:
    """`accuracy rises by 3.1 points`, `loss falls by 12.0%`. base_loss: the loss without the remedy."""
    change, name = difference.get(measure), name_measure(measure)
    if change is None or (measure == "loss" and not base_loss):
        return f"{name} cannot be compared"
    share = change / (base_loss or 1.0) if measure == "loss" else change
    if f"{abs(100 * share):.1f}" == "0.0" and measure != "cost":
        return f"{name} stays the same"
    if measure == "loss" and share > 1:
        return f"loss becomes {1 + share:.1f} times as large"
    return f"{name} {'rises' if change > 0 else 'falls'} by {format_change(measure, share)}"


def format_change(measure: Measure, change: float) -> str:
    """Return a change without its sign: in points for shares, in percent for losses, as it is for costs."""
    if METRICS[measure].is_share:
        return format_points(change)
    return percent(abs(change)) if measure == "loss" else f"{abs(change):.3g}"


def format_measure(measure: Measure, value: float) -> str:
    """Return a figure of a measure: `87.5%`, or `0.412` for losses and costs."""
    return percent(value) if METRICS[measure].is_share else f"{value:.3f}"


def format_metric(metric: Measure, result: MetricResult) -> str:
    """`87.5% (81.2% to 92.0%)`; without the range if it is unknown."""
    if result.value is None:
        return NONE
    value = format_measure(metric, result.value)
    if result.interval is None:
        return value
    return f"{value} ({' to '.join(format_measure(metric, bound) for bound in result.interval)})"


def describe_changes(difference: DifferenceView, base_loss: float | None, measures: Sequence[Measure] = ()) -> str:
    """`accuracy rises by 3.1 points and loss falls by 12.0%`. measures: by default those that were compared."""
    return " and ".join(describe_change(difference, measure, base_loss) for measure in measures or difference.measures)


def rename_measure(text: str, metric: str | None) -> str:
    """Put the name of final figures in place of the measure that a text begins with. None leaves it."""
    return text if metric is None else f"{metric} {text.partition(' ')[2]}"
