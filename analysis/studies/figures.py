"""Means and differences with their intervals, as views. Pure."""

from collections.abc import Sequence

from analysis.studies.comparing import Comparison, compute_losses, estimate_mean, score_answers
from analysis.studies.state import Scores
from heldout.views.base import make_view
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


def compute_validation_figures(runs: Sequence[Scores], folds: int | None) -> ArmFiguresView:
    """Return means on validation, over the trainings of an arm."""
    loss, accuracy = estimate_mean(runs, compute_losses, folds), estimate_mean(runs, score_answers, folds, binary=True)
    low, high = accuracy.interval()
    intervals = None
    if len(runs) > 1:
        intervals = IntervalsView(loss=loss.interval(), accuracy=(max(low, 0.0), min(high, 1.0)))
    return ArmFiguresView(loss=loss.mean, accuracy=accuracy.mean, intervals=intervals or IntervalsView())


def train_figures(runs: Sequence[Scores]) -> ArmFiguresView:
    """Return means on the training images, without intervals, because answers to single images are not kept."""
    count = len(runs)
    return ArmFiguresView(
        loss=sum(run.train_loss for run in runs) / count,
        accuracy=sum(run.train_accuracy for run in runs) / count,
        intervals=IntervalsView(),
    )


def build_difference_view(comparison: Comparison, error: float) -> DifferenceView:
    """Return an arm's mean minus the base's. `error`: how often each deciding interval may miss."""
    return DifferenceView(
        loss=comparison.loss.mean,
        accuracy=comparison.accuracy.mean,
        intervals=IntervalsView(loss=comparison.loss.interval(), accuracy=_clip_to_one(comparison.accuracy.interval())),
        adjusted_intervals=IntervalsView(
            loss=comparison.loss.interval(error), accuracy=_clip_to_one(comparison.accuracy.interval(error))
        ),
    )


def test_figures(runs: Sequence[Scores]) -> TestFiguresView:
    """Return means on the test split, over the trainings of an arm."""
    return make_view(TestFiguresView, compute_validation_figures(runs, None), count=len(runs[0].images))


def compute_gap_closed(base: ArmView, winner: ArmView, test: StudyTestView | None) -> GapClosedView | None:
    """Return the gap from training to test if both were measured there, else to validation; None without figures."""
    heldout = (base.validation, winner.validation) if test is None else (test.base, test.winner)
    figures = [None if view is None else view.accuracy for view in (base.train, winner.train, *heldout)]
    if None in figures:
        return None
    trained, trained_with, held, held_with = (float(figure) for figure in figures if figure is not None)
    before, after = trained - held, trained_with - held_with
    to = "validation" if test is None else "test"
    explanation = explain_gap_closed(to, before, after, better=held_with - held, less=trained - trained_with)
    return GapClosedView(to=to, base=before, winner=after, explanation=explanation)


def _clip_to_one(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = interval
    return max(low, -1.0), min(high, 1.0)
