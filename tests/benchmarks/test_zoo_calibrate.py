"""The confidence of verdicts in the code follows from the recorded trainings of the open sets."""

import pytest

from benchmarks.zoo.calibrate import fit, read_cases
from heldout.diagnosis.verdict_fit import FITS_OF_VERDICTS


@pytest.mark.proof
def test_the_fit_in_the_code_follows_from_the_open_sets():
    fitted = fit(read_cases())
    assert set(FITS_OF_VERDICTS) == set(fitted)
    for verdict, known in FITS_OF_VERDICTS.items():
        found = fitted[verdict]
        assert (known.right, known.wrong) == (found.right, found.wrong), verdict
        assert known.intercept == pytest.approx(found.intercept, abs=0.01), verdict
        assert [weight.figure for weight in known.weights] == [weight.figure for weight in found.weights]
        assert [weight.slope for weight in known.weights] == pytest.approx(
            [weight.slope for weight in found.weights], abs=0.01
        )
