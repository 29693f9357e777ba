"""The errors of an epoch's figures in bfloat16 are negligible compared with chance."""

import pytest

from benchmarks.measuring import conditions, distances

LONG = [pytest.param(name, marks=pytest.mark.proof) for name in ("digits average", "digits tanh", "mnist5k double")]


@pytest.mark.parametrize("name", ["digits norm", *LONG])
def test_figures_in_bfloat16_are_within_a_tenth_of_a_standard_error_of_the_exported_model(name):
    condition, network = next(found for of, *found in conditions() if of == name)
    found = distances(condition, network, epochs=3)
    assert {distance.accuracy for distance in found} == {0.0}
    assert max(distance.loss for distance in found) < 0.1
