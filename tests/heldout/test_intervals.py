"""Intervals, compared with statsmodels and SciPy, and their coverage."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from heldout.statistics import (
    compute_mean_interval,
    compute_newcombe_interval,
    compute_paired_interval,
    compute_t_quantile,
    compute_welch_interval,
    compute_wilson_interval,
    count_images_needed,
)

COUNTS = st.integers(1, 100_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
CONFIDENCES = st.sampled_from([0.8, 0.9, 0.95, 0.99])


@given(COUNTS, CONFIDENCES)
def test_wilson_intervals_equal_those_of_statsmodels(counts, confidence):
    expected = proportion_confint(*counts, alpha=1 - confidence, method="wilson")
    assert compute_wilson_interval(*counts, confidence) == pytest.approx(expected, abs=1e-9)


@given(COUNTS)
def test_wilson_intervals_contain_the_accuracy_and_stay_within_0_and_1(counts):
    low, high = compute_wilson_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


@given(COUNTS, COUNTS, CONFIDENCES)
def test_newcombe_intervals_equal_those_of_statsmodels(first, second, confidence):
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff", alpha=1 - confidence)
    assert compute_newcombe_interval(first, second, confidence) == pytest.approx(expected, abs=1e-9)


@given(COUNTS, COUNTS)
def test_newcombe_intervals_of_swapped_accuracies_are_mirrored(first, second):
    low, high = compute_newcombe_interval(first, second)
    assert compute_newcombe_interval(second, first) == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize("counts", [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="expected 0 <= correct <= total"):
        compute_wilson_interval(*counts)
    with pytest.raises(ValueError, match="expected 0 <= correct <= total"):
        compute_newcombe_interval((1, 2), counts)


@given(st.integers(0, 200), st.sampled_from([0.01, 0.02, 0.05]))
def test_the_needed_number_of_images_is_enough_by_statsmodels_and_one_fewer_is_not(right, half):
    def width(total: int) -> float:
        low, high = proportion_confint(total * right / 200, total, method="wilson")
        return (high - low) / 2

    needed = count_images_needed(right / 200, half)
    assert width(needed) <= half + 1e-12
    assert width(needed - 1) > half - 1e-12


# --- the same images twice ----------------------------------------------------------------------------

PAIRS = st.integers(1, 3000).flatmap(
    lambda count: st.integers(0, count).flatmap(
        lambda changed: st.tuples(st.integers(0, changed), st.just(changed), st.just(count))
    )
)


def compute_score(difference: float, gained: int, lost: int, count: int) -> float:
    """Compute the score statistic of a difference, with the likeliest share of lost images found by SciPy."""
    same = count - gained - lost
    low, high = max(0.0, -difference), (1 - difference) / 2

    def unlikely(share: float) -> float:
        parts = ((gained, share + difference), (lost, share), (same, 1 - 2 * share - difference))
        return -sum(images * np.log(max(part, 1e-300)) for images, part in parts if images)

    share = optimize.minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
    variance = count * (2 * share + difference - difference * difference)
    return (gained - lost - count * difference) / np.sqrt(variance)


@example((0, 1704, 1705), 0.9)
@given(PAIRS, CONFIDENCES)
def test_a_paired_interval_ends_where_the_score_test_rejects(pairs, confidence):
    gained, changed, count = pairs
    lost = changed - gained
    low, high = compute_paired_interval(gained, lost, count, confidence)
    z = stats.norm.ppf(0.5 + confidence / 2)
    assert -1 <= low <= (gained - lost) / count <= high <= 1
    if low > -1 + 1e-6:
        assert compute_score(low, gained, lost, count) == pytest.approx(z, abs=1e-3)  # SciPy searches for the share
    if high < 1 - 1e-6:
        assert compute_score(high, gained, lost, count) == pytest.approx(-z, abs=1e-3)


def test_a_paired_interval_equals_a_published_example():
    """Fagerland, Lydersen and Laake 2014: of 21 children, 1 had the symptom only before and 7 only after."""
    assert compute_paired_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


@given(PAIRS)
def test_a_paired_interval_excludes_0_if_mcnemars_test_is_significant(pairs):
    gained, changed, count = pairs
    lost = changed - gained
    low, high = compute_paired_interval(gained, lost, count)
    is_significant = (gained - lost) ** 2 > stats.chi2.ppf(0.95, 1) * changed
    assert (low > 0 or high < 0) == is_significant


@pytest.mark.parametrize("counts", [(-1, 2, 10), (6, 5, 10), (0, 0, 0)])
def test_impossible_pairs_are_refused(counts):
    with pytest.raises(ValueError, match="expected at most all"):
        compute_paired_interval(*counts)


# --- means --------------------------------------------------------------------------------------------

VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=40)


def moments(values: list[float]) -> tuple[float, float, int]:
    return float(np.mean(values)), float(np.var(values, ddof=1)), len(values)


@given(st.floats(0.5, 1 - 1e-6), st.floats(0.5, 1e7))
def test_quantiles_of_t_equal_scipys(probability, degrees):
    assert compute_t_quantile(probability, degrees) == pytest.approx(
        stats.t.ppf(probability, degrees), rel=1e-7, abs=1e-9
    )


@given(VALUES, VALUES, CONFIDENCES)
def test_welch_intervals_equal_those_of_statsmodels(first, second, confidence):
    found = compute_welch_interval(moments(first), moments(second), confidence)
    if np.var(first) + np.var(second) < 1e-12:
        assert found == pytest.approx((np.mean(first) - np.mean(second),) * 2, abs=1e-4)
        return
    compared = CompareMeans(DescrStatsW(first), DescrStatsW(second))
    assert found == pytest.approx(compared.tconfint_diff(1 - confidence, usevar="unequal"), rel=1e-6, abs=1e-6)


def test_welch_has_an_interval_for_the_smallest_variances():
    low, high = compute_welch_interval((0.0, 0.0, 2), (1e-157, 3.8e-314, 2), 0.8)
    assert low <= -1e-157 <= high


@given(VALUES, CONFIDENCES)
def test_the_interval_of_a_mean_equals_that_of_statsmodels(values, confidence):
    expected = DescrStatsW(values).tconfint_mean(1 - confidence)
    assert compute_mean_interval(*moments(values), confidence) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_one_value_has_no_interval():
    with pytest.raises(ValueError, match="expected at least 2"):
        compute_mean_interval(1.0, 0.0, 1)
    with pytest.raises(ValueError, match="expected at least 2 of each"):
        compute_welch_interval((1.0, 0.1, 5), (1.0, 0.0, 1))


# --- coverage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "loss", "count"), [(0.1, 0.02, 300), (0.02, 0.02, 1000), (0.6, 0.05, 60)])
def test_paired_intervals_have_their_nominal_coverage(gain, loss, count):
    draws = np.random.default_rng(3).multinomial(count, [gain, loss, 1 - gain - loss], 4000)
    bounds = np.array([compute_paired_interval(int(gained), int(lost), count) for gained, lost, _ in draws])
    covered = ((bounds[:, 0] <= gain - loss) & (gain - loss <= bounds[:, 1])).mean()
    assert 0.935 <= covered <= 0.97


def test_welch_intervals_have_their_nominal_coverage():
    """The losses are realistic: most are near 0, and a wrong answer costs about 2 nats."""
    draw = np.random.default_rng(4)

    def losses(share_wrong: float, count: int):
        wrong = draw.random((1500, count)) < share_wrong
        return np.where(wrong, 1 + draw.exponential(1, wrong.shape), draw.exponential(0.05, wrong.shape))

    first, second = losses(0.1, 400), losses(0.03, 2000)
    truth = 0.1 * 2 + 0.9 * 0.05 - 0.03 * 2 - 0.97 * 0.05
    bounds = np.array([compute_welch_interval(moments(a), moments(b)) for a, b in zip(first, second, strict=True)])
    covered = ((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean()
    assert 0.93 <= covered <= 0.965
