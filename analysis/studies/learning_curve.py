"""A learning curve: the same spec trained on more and more images, and a forecast for twice as many. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.studies.figures import compute_train_figures, compute_validation_figures
from analysis.studies.forecasting import MIN_SIZES, NoForecast, Size, compute_intervals, forecast
from analysis.studies.objectives import count_strata, get_objective
from analysis.studies.planning import list_curve_keys
from analysis.studies.runs import MIN_OF_A_CLASS, MIN_RANGE
from analysis.studies.state import NextSteps, RunKey, Scores, StudyRun, StudyState
from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.metrics import METRICS, Measure
from heldout.studies.spec import BASE_ARM
from heldout.views.base import make_view
from heldout.views.study import ArmView, CurvePointView, ForecastView
from heldout.words.learning_curves import describe_forecast, describe_no_forecast, say_too_few_images
from heldout.words.studies import say_failed

# The forecast is for this many times the images of the largest size.
FORECAST_TIMES = 2


def plan_curve_steps(state: StudyState, runs: Sequence[StudyRun]) -> NextSteps:
    """Train every size with every seed; at the end, report the errors and the conclusions.

    A size with a failed training is left out.
    """
    if len(state.sizes) < MIN_SIZES:
        detail = say_too_few_images(state.train_images, MIN_OF_A_CLASS, MIN_RANGE)
        return NextSteps("failed", error=("too_few_images", detail))
    keys = {images: list_curve_keys(state, images) for images in state.sizes}
    wanted = sum(len(of_size) for of_size in keys.values())
    if state.max_jobs is not None and wanted > state.max_jobs:
        detail = f"A curve of {len(keys)} sizes and {state.seeds} seeds takes {wanted} trainings; "
        return NextSteps("failed", error=("budget_too_small", f"{detail}the budget allows {state.max_jobs}."))
    by_key = {run.key: run for run in runs}
    missing = tuple(key for of_size in keys.values() for key in of_size if key not in by_key)
    measured = {images: scores for images in keys if (scores := _collect_scores(keys[images], by_key))}
    summaries = [_summarize_size(images, scores, state.measures[0]) for images, scores in measured.items()]
    sizes = tuple(
        CurvePointView(
            images=size.images,
            error=float(np.mean(size.errors)),
            interval=bounds,
            loss=float(np.mean([run.losses.mean(dtype=np.float64) for run in measured[size.images]])),
            jobs=[by_key[key].job for key in keys[size.images]],
        )
        for size, bounds in zip(summaries, compute_intervals(summaries) if summaries else (), strict=True)
    )
    is_over = not missing and all(run.status in TERMINAL for run in runs)
    arms = (_build_base_view(state, measured, keys, by_key, ended=is_over),)
    if not is_over:
        return NextSteps("running", submit=missing, planned=wanted, most=wanted, arms=arms, sizes=sizes)
    if not measured:
        detail = f"No size was trained with all seeds. {_say_failed(by_key.values())}"
        return NextSteps("failed", arms=arms, error=("no_size_trained", detail))
    view, why = _make_forecast(state, summaries, by_key)
    return NextSteps("succeeded", planned=wanted, arms=arms, sizes=sizes, forecast=view, no_forecast=why)


def _make_forecast(
    state: StudyState, sizes: Sequence[Size], by_key: Mapping[RunKey, StudyRun]
) -> tuple[ForecastView | None, str | None]:
    """Return the forecast, or why there is none."""
    if state.sizes[-1] != sizes[-1].images:
        return None, f"The largest size was not measured. {_say_failed(by_key.values())}"
    found = forecast(sizes, FORECAST_TIMES * state.sizes[-1])
    if isinstance(found, NoForecast):
        errors = [(size.images, float(np.mean(size.errors))) for size in sizes]
        return None, describe_no_forecast(found.code, errors, found.images, state.objective)
    now = float(np.mean(sizes[-1].errors))
    explanation = describe_forecast(now, found.error, found.interval, state.objective)
    return make_view(ForecastView, found, explanation=explanation), None


def _say_failed(runs: Iterable[StudyRun]) -> str:
    """Say which training failed first, and how."""
    broken = [run for run in runs if run.status in TERMINAL and run.status is not JobStatus.SUCCEEDED]
    if not broken:
        return "Its trainings have left no figures."
    run = min(broken, key=lambda run: (run.status is JobStatus.CANCELLED, run.key))
    return say_failed(run.key.seed, run.status, run.error, run.key.variant)


def _summarize_size(images: int, scores: Sequence[Scores], measure: Measure) -> Size:
    if all(run.objective is not None for run in scores):
        errors = tuple(1 - get_objective(run).value for run in scores)
        asked = min(_count_equal_images(get_objective(run).counts, measure) for run in scores)
        return Size(images, errors, asked, _count_equal_images(count_strata(scores), measure))
    errors = tuple(1 - float(run.right.mean()) for run in scores)
    different = len(np.unique(np.concatenate([run.images for run in scores])))
    return Size(images, errors, min(len(run.images) for run in scores), different)


def _count_equal_images(counts: NDArray[np.int64], measure: Measure) -> int:
    """Return how many images of equal weight say as much as these, of which each class may count the same.

    A minimum depends on one class or group. The smallest one says least.
    """
    known = counts[counts > 0]
    if METRICS[measure].depends_on is None:
        return int(known.sum())
    return int(np.min(known) if METRICS[measure].is_minimum else len(known) ** 2 / np.sum(1 / known))


def _build_base_view(
    state: StudyState,
    measured: Mapping[int, Sequence[Scores]],
    keys: Mapping[int, Sequence[RunKey]],
    by_key: Mapping[RunKey, StudyRun],
    *,
    ended: bool,
) -> ArmView:
    """Return the unchanged spec, trained on all images."""
    largest = state.sizes[-1]
    scores = measured.get(largest, ())
    return ArmView(
        name=BASE_ARM,
        patch={},
        status="finished" if ended else "racing",
        jobs=[by_key[key].job for key in keys[largest] if key in by_key],
        seeds=len(scores),
        train=compute_train_figures(scores) if scores else None,
        validation=compute_validation_figures(scores, state.folds, state.measures) if scores else None,
        difference=None,
        why=None,
    )


def _collect_scores(keys: Sequence[RunKey], by_key: Mapping[RunKey, StudyRun]) -> tuple[Scores, ...]:
    """Yield a size whose trainings have all succeeded; else nothing."""
    runs = [by_key[key] for key in keys if key in by_key]
    found = tuple(run.scores for run in runs if run.scores is not None and run.status is JobStatus.SUCCEEDED)
    return found if len(found) == len(keys) else ()
