"""Intervals of studies, compared with statsmodels' two-way ANOVA and SciPy's quantiles."""

from math import sqrt

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from analysis.studies.intervals import (
    MeanEstimate,
    Spread,
    compute_crossed_spread,
    compute_folded_spread,
    estimate_own_noise,
    estimate_shared_noise,
)


def compute_mean_squares(values: np.ndarray) -> dict[str, float]:
    """Return statsmodels' mean squares of trainings, images and the rest."""
    trainings, images = np.indices(values.shape)
    columns = pd.DataFrame({"value": values.ravel(), "training": trainings.ravel(), "image": images.ravel()})
    table = anova_lm(ols("value ~ C(training) + C(image)", data=columns).fit())
    return {name: float(table["mean_sq"].iloc[row]) for row, name in enumerate(("training", "image", "rest"))}


@pytest.mark.parametrize("between", [0.0, 0.6])
def test_intervals_over_the_same_images_equal_those_of_a_two_way_anova(between: float) -> None:
    random = np.random.default_rng(3)
    values = random.standard_normal((4, 25)) + between * random.standard_normal((4, 1)) + random.standard_normal(25)
    squares = compute_mean_squares(values)

    spread = compute_crossed_spread(values)
    low, high = MeanEstimate(spread, estimate_own_noise(spread)).interval(0.05)

    t, z = stats.t.ppf(0.975, 3), stats.norm.ppf(0.975)
    between_trainings = max(squares["training"] - squares["rest"], 0)
    half = sqrt(t**2 * between_trainings / 100 + z**2 * squares["image"] / 100)
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(half)


def test_intervals_over_folds_are_corrected_resampled_t_intervals_if_images_add_no_noise() -> None:
    means = [0.1, 0.14, 0.03, 0.08]
    spread = compute_folded_spread([np.full(12, mean) for mean in means], 5)
    low, high = MeanEstimate(spread, estimate_own_noise(spread)).interval(0.05)

    half = stats.t.ppf(0.975, 3) * sqrt(np.var(means, ddof=1) * (1 / 4 + 1 / 4))
    assert (low, high) == pytest.approx((np.mean(means) - half, np.mean(means) + half))


def test_noise_of_images_within_folds_uses_the_normal_quantile() -> None:
    random = np.random.default_rng(0)
    values = [random.standard_normal(400) for _ in range(3)]
    values = [part - part.mean() for part in values]  # the trainings do not differ at all
    spread = compute_folded_spread(values, 10)

    half = MeanEstimate(spread, estimate_own_noise(spread)).compute_half_width(0.05)

    noise = np.mean([part.var(ddof=1) / 400 for part in values])
    assert half == pytest.approx(stats.norm.ppf(0.975) * sqrt(noise / 3))


def test_shared_noise_raises_quiet_arms_but_never_lowers_a_noisy_arm() -> None:
    def spread(variance: float) -> Spread:
        return Spread(0.0, 3, 100, variance, image_noise=0.0, lasting_image_noise=0.0)

    arms = [spread(variance) for variance in (1, 4, 40)]
    quiet, usual, noisy = (MeanEstimate(*pair) for pair in zip(arms, estimate_shared_noise(arms), strict=True))

    common = 4 / (stats.chi2.median(2) / 2)
    expected = [(common + 1) / 2, (common + 4) / 2, 40]
    assert [estimate.noise.variance for estimate in (quiet, usual, noisy)] == pytest.approx(expected, rel=0.02)
    assert quiet.noise.degrees == 3
    assert noisy.compute_half_width(0.05) < MeanEstimate(
        noisy.spread, estimate_own_noise(noisy.spread)
    ).compute_half_width(0.05)
    [alone] = estimate_shared_noise([spread(4)])
    assert (alone.variance, alone.degrees) == (4, 2)


@pytest.mark.parametrize("ruined", [1e6, float("nan"), float("inf")])
@pytest.mark.parametrize("others", [(1.0,), (1.0, 1.0), (0.8, 1.0, 1.2)])
def test_an_outlier_arm_does_not_widen_the_intervals_of_other_arms(ruined: float, others: tuple[float, ...]) -> None:
    """This also holds for two arms, whose mean would be half of the outlier's."""

    def widths(*variances: float) -> list[float]:
        spreads = [Spread(0.0, 3, 100, variance, image_noise=0.0, lasting_image_noise=0.0) for variance in variances]
        return [
            MeanEstimate(*pair).compute_half_width(0.05)
            for pair in zip(spreads, estimate_shared_noise(spreads), strict=True)
        ]

    # An arm without a finite figure is ignored.
    usual = widths(*others, 1.0) if ruined == 1e6 else widths(*others)
    assert widths(*others, ruined)[: len(others)] == pytest.approx(usual[: len(others)], rel=0.15)


def test_no_difference_of_accuracies_is_known_exactly() -> None:
    same = compute_crossed_spread(np.zeros((3, 50)), binary=True)
    assert MeanEstimate(same, estimate_own_noise(same)).compute_half_width(0.05) == pytest.approx(
        stats.norm.ppf(0.975) / 50
    )
