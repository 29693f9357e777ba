"""A learning curve: the trainings that it requests, what it reports, and its forecast against a known truth."""

import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import curve_fit
from sklearn.metrics import balanced_accuracy_score

from analysis.answers.answers import Answers
from analysis.answers.metrics import contribute
from analysis.studies.forecasting import Forecast, NoForecast, Size, forecast
from analysis.studies.next_steps import decide_next_steps
from analysis.studies.planning import count_most_jobs
from analysis.studies.runs import choose_sizes
from analysis.studies.state import Arm, NextSteps, Purpose, RunKey, Scores, StudyRun, StudyState
from heldout.lifecycle.job import JobStatus
from heldout.metrics import Measure
from heldout.words.learning_curves import describe_no_forecast

SIZES = (100, 200, 400, 800, 1600)
MANY = 100_000  # images that errors are counted on


def sizes_of(errors: Mapping[int, float], asked: int = MANY) -> list[Size]:
    """Make three slightly different trainings for each size."""
    return [Size(n, (0.99 * error, error, 1.01 * error), asked, asked) for n, error in errors.items()]


def law(images: float, scale: float = 2.0, exponent: float = 0.4, floor: float = 0.02) -> float:
    return scale * images**-exponent + floor


def test_the_forecast_of_a_power_law_equals_scipys_fit() -> None:
    sizes = sizes_of({n: law(n) * (1 + 0.004 * (-1) ** k) for k, n in enumerate(SIZES)})
    fitted, _ = curve_fit(law, SIZES, [np.mean(size.errors) for size in sizes], p0=(1.0, 0.5, 0.0))

    found = forecast(sizes, 3200)

    assert isinstance(found, Forecast)
    assert found.method == "power_law"
    assert found.error == pytest.approx(law(3200, *fitted), rel=0.01)
    assert found.error == pytest.approx(law(3200), rel=0.02)
    assert found.interval[0] < law(3200) < found.interval[1]


@pytest.mark.parametrize(
    ("errors", "code", "images"),
    [
        ((0.4, 0.3, 0.2), "too_short", ()),
        ((0.4, 0.3, 0.2, 0.1, 0.0), "no_errors", ()),
        ((0.4, 0.2, 0.3, 0.1, 0.08), "not_monotone", (200, 400)),
        ((0.4, 0.3, 0.2, 0.1, 0.13), "not_monotone", (800, 1600)),
        ((0.4, 0.41, 0.4, 0.4, 0.395), "too_flat", ()),
        ((0.9, 0.9, 0.89, 0.9, 0.3), "one_step", ()),
    ],
)
def test_an_uninformative_curve_has_no_forecast(errors: tuple[float, ...], code: str, images: tuple[int, ...]) -> None:
    found = forecast(sizes_of(dict(zip(SIZES, errors, strict=False))), 3200)
    assert found == NoForecast(code, images)


def test_a_rise_that_may_be_chance_does_not_prevent_a_forecast() -> None:
    sizes = sizes_of(dict(zip(SIZES, (0.4, 0.3, 0.2, 0.21, 0.15), strict=True)), asked=200)
    assert isinstance(forecast(sizes, 3200), Forecast)


# --- as a study --------------------------------------------------------------------------------------------

STATE = StudyState("learning_curve", (Arm("base", {}),), 3, None, 1600, 500, has_test=True, sizes=SIZES)


def scores(key: RunKey) -> Scores:
    rng = np.random.default_rng([key.variant, key.seed])
    right = rng.random(500) > law(key.variant)
    losses = np.where(right, 0.1, 2.0).astype(np.float32)
    return Scores(np.arange(500, dtype=np.int32), losses, right, 0.05, 0.99, key.variant, 9)


def ended(state: StudyState = STATE) -> list[StudyRun]:
    return [
        StudyRun(key, f"job {key}", JobStatus.SUCCEEDED, scores(key)) for key in decide_next_steps(state, ()).submit
    ]


def test_every_size_is_trained_once_with_every_seed_in_any_order_of_completion() -> None:
    first = decide_next_steps(STATE, ())
    assert [(key.variant, key.seed) for key in first.submit] == [(n, seed) for n in SIZES for seed in range(3)]
    assert first.planned == count_most_jobs(STATE) == 15
    runs = ended()
    waiting = [*runs[:-1], replace(runs[-1], status=JobStatus.RUNNING, scores=None)]
    meanwhile = decide_next_steps(STATE, waiting)
    assert (meanwhile.status, meanwhile.submit, len(meanwhile.sizes)) == ("running", (), 4)

    steps = decide_next_steps(STATE, runs)
    random.Random(0).shuffle(runs)

    assert steps == decide_next_steps(STATE, runs)
    assert (steps.status, steps.evaluate, steps.refit, steps.conclusion) == ("succeeded", None, None, None)
    assert [size.images for size in steps.sizes] == list(SIZES)
    for size in steps.sizes:
        of_size = [run for run in runs if run.key.variant == size.images and run.scores is not None]
        assert size.error == pytest.approx(np.mean([1 - run.scores.right.mean() for run in of_size]))
        assert size.interval[0] < law(size.images) < size.interval[1]
        assert sorted(size.jobs) == sorted(run.job for run in of_size)


def test_the_text_of_a_forecast_contains_its_figures() -> None:
    steps = decide_next_steps(STATE, ended())
    found, now = steps.forecast, steps.sizes[-1].error
    assert found.images == 3200
    assert found.interval[0] < law(3200) < found.interval[1]
    low, high = (100 * bound for bound in found.interval)
    assert found.explanation.startswith(
        f"Twice as many training images should bring the error from {100 * now:.1f} to about {100 * found.error:.1f} "
        f"of 100 images ({low:.1f} to {high:.1f})."
    )


def test_a_curve_follows_the_objective_and_a_minimum_is_as_unsure_as_its_smallest_class() -> None:
    labels = np.repeat([0, 1], [100, 400])

    def of(measure: Measure) -> NextSteps:
        runs = []
        for run in ended():
            same = scores(replace(run.key, seed=0))  # no noise but that of the images
            answers = Answers.without_probabilities(labels, np.where(same.right, labels, 1 - labels))
            runs.append(replace(run, scores=replace(same, objective=contribute(measure, answers))))
        return decide_next_steps(replace(STATE, objective=measure), runs)

    mean, lowest = of("balanced_accuracy"), of("worst_class")
    for size in mean.sizes:
        right = scores(RunKey("base", Purpose.RACE, 0, variant=size.images)).right
        assert size.error == pytest.approx(1 - balanced_accuracy_score(labels, np.where(right, labels, 1 - labels)))
    assert mean.forecast.explanation.startswith("Twice as many training images should raise balanced accuracy from ")
    wide, narrow = (found.sizes[0].interval[1] - found.sizes[0].interval[0] for found in (lowest, mean))
    # A share of 100 images against the mean of shares of 100 and 400, which says as much as 320.
    assert wide > 1.2 * narrow


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("no_errors", "Balanced accuracy is 100% with all images, so more images have nothing to improve."),
        ("too_flat", "Balanced accuracy has hardly risen: it is 60.0% with 100 training images and 68.0% with 400"),
        ("one_step", "it is still 70.0% with 200 training images, and 68.0% with 400."),
        ("not_monotone", "it falls from 70.0% with 200 training images to 68.0% with 400"),
    ],
)
def test_without_a_forecast_the_objective_is_named_too(code, text) -> None:
    sizes = [(100, 0.4), (200, 0.3), (400, 0.32)]
    assert text in describe_no_forecast(code, sizes, (200, 400), "balanced_accuracy")
    assert "error" not in describe_no_forecast(code, sizes, (200, 400), "balanced_accuracy")


def test_a_failed_size_is_left_out_but_the_largest_is_required() -> None:
    def without(size: int) -> NextSteps:
        broken = RunKey("base", decide_next_steps(STATE, ()).submit[0].purpose, 1, variant=size)
        failed = {"status": JobStatus.FAILED, "scores": None, "error": "diverged"}
        return decide_next_steps(STATE, [replace(run, **failed) if run.key == broken else run for run in ended()])

    steps = without(400)
    assert [size.images for size in steps.sizes] == [100, 200, 800, 1600]
    assert steps.forecast is not None
    steps = without(1600)
    assert (steps.status, steps.forecast, len(steps.sizes)) == ("succeeded", None, 4)
    assert steps.no_forecast == (
        "The largest size was not measured. The training on 1,600 images with seed number 2 failed (`diverged`)."
    )


def test_a_curve_that_cannot_start_says_why() -> None:
    few = decide_next_steps(replace(STATE, sizes=choose_sizes(120, 10), train_images=120), ())
    assert few.error[0] == "too_few_images"
    assert "120 training images" in few.error[1]
    dear = decide_next_steps(replace(STATE, max_jobs=14), ())
    assert (dear.error[0], "takes 15 trainings" in dear.error[1]) == ("budget_too_small", True)


@pytest.mark.parametrize(("images", "classes"), [(160, 10), (1302, 10), (60_000, 10), (40, 2), (900, 3)])
def test_sizes_grow_by_a_constant_factor_up_to_all_images(images: int, classes: int) -> None:
    sizes = choose_sizes(images, classes)
    assert (len(sizes), sizes[-1]) == (5, images)
    assert sizes[0] >= 4 * classes
    factors = np.divide(sizes[1:], sizes[:-1])
    assert np.allclose(factors, factors.mean(), rtol=0.1)
    assert 1.3 < factors.mean() < 2.1
