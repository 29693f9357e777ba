"""Means and differences with their intervals, as they are answered. Pure."""

from collections.abc import Sequence

from analysis.studies.comparing import Comparison, answers, losses, mean_of
from analysis.studies.state import Scores
from heldout.views.base import view_of
from heldout.views.study import (
    ArmFiguresView,
    ArmView,
    DifferenceView,
    GapClosedView,
    IntervalsView,
    StudyTestView,
    TestFiguresView,
)
from heldout.words.studies import explain_gap_closed


def validation_figures(runs: Sequence[Scores], folds: int | None) -> ArmFiguresView:
    """Means on validation, over the trainings of an arm."""
    loss, accuracy = mean_of(runs, losses, folds), mean_of(runs, answers, folds, binary=True)
    low, high = accuracy.interval()
    intervals = None
    if len(runs) > 1:
        intervals = IntervalsView(loss=loss.interval(), accuracy=(max(low, 0.0), min(high, 1.0)))
    return ArmFiguresView(loss=loss.mean, accuracy=accuracy.mean, intervals=intervals or IntervalsView())


def train_figures(runs: Sequence[Scores]) -> ArmFiguresView:
    """Means on the training images. How sure they are is not known: single images are not kept."""
    count = len(runs)
    return ArmFiguresView(
        loss=sum(one.train_loss for one in runs) / count,
        accuracy=sum(one.train_accuracy for one in runs) / count,
        intervals=IntervalsView(),
    )


def difference_view(comparison: Comparison, error: float) -> DifferenceView:
    """An arm's mean minus the base's. `error`: how often each of the intervals that decide may miss."""
    return DifferenceView(
        loss=comparison.loss.mean,
        accuracy=comparison.accuracy.mean,
        intervals=IntervalsView(loss=comparison.loss.interval(), accuracy=_within_one(comparison.accuracy.interval())),
        adjusted_intervals=IntervalsView(
            loss=comparison.loss.interval(error), accuracy=_within_one(comparison.accuracy.interval(error))
        ),
    )


def test_figures(runs: Sequence[Scores]) -> TestFiguresView:
    """Means on the test split, over the trainings of an arm."""
    return view_of(TestFiguresView, validation_figures(runs, None), count=len(runs[0].images))


def gap_closed(base: ArmView, winner: ArmView, test: StudyTestView | None) -> GapClosedView | None:
    """From training to test where both were measured there, else to validation; None without figures."""
    heldout = (base.validation, winner.validation) if test is None else (test.base, test.winner)
    figures = [None if view is None else view.accuracy for view in (base.train, winner.train, *heldout)]
    if None in figures:
        return None
    trained, trained_with, held, held_with = (float(figure) for figure in figures if figure is not None)
    before, after = trained - held, trained_with - held_with
    to = "validation" if test is None else "test"
    explanation = explain_gap_closed(to, before, after, better=held_with - held, less=trained - trained_with)
    return GapClosedView(to=to, base=before, winner=after, explanation=explanation)


def _within_one(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = interval
    return max(low, -1.0), min(high, 1.0)
