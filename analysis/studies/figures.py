"""Means and differences with their intervals, as views. Pure."""

from collections.abc import Sequence
from math import inf, isfinite

from analysis.studies.comparing import Comparison, Estimate, compute_losses, estimate_mean, score_answers
from analysis.studies.intervals import MeanEstimate
from analysis.studies.objectives import estimate_objective
from analysis.studies.state import Scores
from heldout.metrics import MEASURES, METRICS, Measure
from heldout.views.base import make_view
from heldout.views.study import ArmView, GapClosedView, StudyTestView, TestFiguresView
from heldout.views.study_figures import MIN_SEEDS_OF_RANGE, ArmFiguresView, DifferenceView, IntervalsView
from heldout.words.studies import explain_gap_closed


def compute_validation_figures(
    runs: Sequence[Scores], folds: int | None, measures: Sequence[Measure] = MEASURES
) -> ArmFiguresView:
    """Return means on validation, over the trainings of an arm. measures: those that decide."""
    loss, accuracy = estimate_mean(runs, compute_losses, folds), estimate_mean(runs, score_answers, folds, binary=True)
    figures = make_figures_view(loss, accuracy)
    if measures[0] in MEASURES or any(run.objective is None for run in runs):
        return figures
    objective, bounds = estimate_objective(runs, measures[0], folds)
    intervals = figures.intervals
    if len(runs) >= MIN_SEEDS_OF_RANGE:
        intervals = intervals.model_copy(update={"objective": _clip(bounds, *_get_limits(measures[0]))})
    return figures.model_copy(update={"objective": objective, "intervals": intervals})


def _get_limits(measure: Measure) -> tuple[float, float]:
    return (0.0, 1.0) if METRICS[measure].is_share else (0.0, inf)


def make_figures_view(loss: MeanEstimate, accuracy: MeanEstimate) -> ArmFiguresView:
    """Return means, with intervals if there are enough trainings."""
    intervals = IntervalsView()
    if accuracy.spread.trainings >= MIN_SEEDS_OF_RANGE:
        intervals = IntervalsView(loss=_clip(loss.interval()), accuracy=_clip(accuracy.interval(), 0.0, 1.0))
    return ArmFiguresView(loss=loss.mean, accuracy=accuracy.mean, intervals=intervals)


def compute_train_figures(runs: Sequence[Scores]) -> ArmFiguresView:
    """Return means on the training images, without intervals, because answers to single images are not kept."""
    count = len(runs)
    return ArmFiguresView(
        loss=sum(run.train_loss for run in runs) / count,
        accuracy=sum(run.train_accuracy for run in runs) / count,
        intervals=IntervalsView(),
    )


def build_difference_view(
    comparison: Comparison, error: float, measures: Sequence[Measure] = MEASURES
) -> DifferenceView:
    """Return an arm's mean minus the base's.

    Args:
        error: how often each deciding interval may miss.
        measures: those that decide.
    """
    objective = None if measures[0] in MEASURES else measures[0]
    return DifferenceView(
        loss=comparison.loss.mean,
        accuracy=comparison.accuracy.mean,
        objective=None if objective is None else comparison.objective.mean,
        measure=objective,
        intervals=_build_intervals(comparison, 0.05, objective),
        adjusted_intervals=_build_intervals(comparison, error, objective),
    )


def compute_test_figures(runs: Sequence[Scores], measures: Sequence[Measure] = MEASURES) -> TestFiguresView:
    """Return means on the test split, over the trainings of an arm."""
    return make_view(TestFiguresView, compute_validation_figures(runs, None, measures), count=len(runs[0].images))


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


def _build_intervals(comparison: Comparison, error: float, objective: Measure | None) -> IntervalsView:
    is_share = objective is not None and METRICS[objective].is_share
    return IntervalsView(
        loss=_bound(comparison.loss, error),
        accuracy=_bound(comparison.accuracy, error, lowest=-1.0, highest=1.0),
        objective=_bound(comparison.objective, error, *((-1.0, 1.0) if is_share else ())),
    )


def _bound(
    difference: Estimate, error: float, lowest: float = -inf, highest: float = inf
) -> tuple[float, float] | None:
    """Return an interval of a difference; None if it is unknown, or of too few seeds and proves nothing."""
    low, high = difference.interval(error)
    if difference.spread.trainings < MIN_SEEDS_OF_RANGE and low <= 0 <= high:
        return None
    return _clip((low, high), lowest, highest)


def _clip(interval: tuple[float, float], lowest: float = -inf, highest: float = inf) -> tuple[float, float] | None:
    """Return the interval within bounds; None if it is unknown."""
    low, high = interval
    return (max(low, lowest), min(high, highest)) if isfinite(low) else None
