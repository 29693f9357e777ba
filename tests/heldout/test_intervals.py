"""Intervals against statsmodels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from heldout.intervals import images_needed, newcombe_interval, wilson_interval

COUNTS = st.integers(1, 100_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
CONFIDENCES = st.sampled_from([0.8, 0.9, 0.95, 0.99])


@given(COUNTS, CONFIDENCES)
def test_wilson_is_what_statsmodels_gives(counts, confidence):
    expected = proportion_confint(*counts, alpha=1 - confidence, method="wilson")
    assert wilson_interval(*counts, confidence) == pytest.approx(expected, abs=1e-9)


@given(COUNTS)
def test_wilson_holds_the_accuracy_and_stays_within_0_and_1(counts):
    low, high = wilson_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


@given(COUNTS, COUNTS, CONFIDENCES)
def test_newcombe_is_what_statsmodels_gives(first, second, confidence):
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff", alpha=1 - confidence)
    assert newcombe_interval(first, second, confidence) == pytest.approx(expected, abs=1e-9)


@given(COUNTS, COUNTS)
def test_newcombe_of_the_swapped_accuracies_is_mirrored(first, second):
    low, high = newcombe_interval(first, second)
    assert newcombe_interval(second, first) == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize("counts", [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="expected 0 <= correct <= total"):
        wilson_interval(*counts)
    with pytest.raises(ValueError, match="expected 0 <= correct <= total"):
        newcombe_interval((1, 2), counts)


@given(st.integers(0, 200), st.sampled_from([0.01, 0.02, 0.05]))
def test_so_many_images_are_enough_by_statsmodels_and_one_fewer_is_not(right, half):
    def width(total: int) -> float:
        low, high = proportion_confint(total * right / 200, total, method="wilson")
        return (high - low) / 2

    needed = images_needed(right / 200, half)
    assert width(needed) <= half + 1e-12
    assert width(needed - 1) > half - 1e-12
