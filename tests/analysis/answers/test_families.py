"""How many images of related ones say as much as one, compared with statsmodels' variance by clusters."""

import numpy as np
import pytest
import statsmodels.api as sm

from analysis.answers.answers import measure_family


def draw(units: int, alike: float, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Answers to units of 1 to 9 images. alike: the share of images that are answered as their whole unit is."""
    random = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), random.integers(1, 10, units)).astype(np.int32)
    is_like_unit = random.random(len(unit)) < alike
    return np.where(is_like_unit, (random.random(units) < 0.6)[unit], random.random(len(unit)) < 0.6), unit


@pytest.mark.parametrize("alike", [0.6, 1.0])
def test_a_family_is_the_variance_by_units_over_that_of_independent_images(alike):
    right, unit = draw(60, alike)
    fit = sm.OLS(right.astype(float), np.ones(len(right))).fit(cov_type="cluster", cov_kwds={"groups": unit})
    expected = fit.bse[0] ** 2 / (right.var() / len(right))
    assert measure_family(right, unit) == pytest.approx(expected)
    assert expected > 2


def test_images_that_are_answered_independently_have_no_family():
    right, unit = draw(3000, 0.0)
    assert measure_family(right, unit) == pytest.approx(1, abs=0.1)
    assert measure_family(right, np.arange(len(right), dtype=np.int32)) == pytest.approx(1, abs=0.001)


def test_a_family_is_unknown_where_nothing_can_be_compared():
    right = np.arange(10) < 5
    assert measure_family(right, np.zeros(10, np.int32)) is None
    assert measure_family(np.ones(10, bool), np.arange(10, dtype=np.int32)) is None
    assert measure_family(right[:0], np.empty(0, np.int32)) is None
