"""Confidence: the fit can be reproduced from the collection, and its probabilities equal scikit-learn's."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from benchmarks.diagnosis import calibration, confidence
from benchmarks.diagnosis.calibration import NO_RISE, Sample, as_job, fits_of
from benchmarks.diagnosis.record import Record, read_all
from heldout.diagnosis import History, diagnose
from heldout.diagnosis.confidence import FIGURES, compute_confidences
from heldout.diagnosis.confidence_fit import FITS_OF_HISTORIES, FITS_OF_JOBS
from heldout.diagnosis.facts import collect_facts
from heldout.diagnosis.logistic import Fit, Weight, compute_probability
from heldout.diagnosis.precedence import RULES


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [record for record in read_all() if record.drawn.draw < 8]


def samples(code: str, figure, is_right) -> list[Sample]:
    """Make samples with one informative figure, three constant figures, and the others unknown."""
    rest = dict.fromkeys(FIGURES) | dict.fromkeys(list(FIGURES)[:3], 0.5)
    return [
        Sample(code, rest | {"rise": float(value)}, bool(right), place)
        for place, (value, right) in enumerate(zip(figure, is_right, strict=True))
    ]


def test_a_probability_is_the_logistic_function_of_bounded_figures():
    fit = Fit(0.5, (Weight("rise", 2.0, -1.0, 1.0),), right=10, wrong=10)
    for value, bounded in ((-3.0, -1.0), (0.25, 0.25), (5.0, 1.0)):
        expected = 1 / (1 + math.exp(-(0.5 + 2.0 * (bounded + 1.0))))
        assert compute_probability(fit, {"rise": value}.get) == pytest.approx(expected)
    assert compute_probability(fit, {}.get) is None


def test_the_fit_equals_that_of_scikit_learn():
    draw = np.random.default_rng(0)
    figure = draw.uniform(-2, 2, 400)
    is_right = draw.random(400) < 1 / (1 + np.exp(-2 * figure))
    fit = fits_of(samples("healthy", figure, is_right))["healthy"]
    assert "rise" in [weight.figure for weight in fit.weights]
    low, high = np.quantile(figure, calibration.BOUNDS)
    clipped = np.clip(figure, low, high)[:, None]
    expected = LogisticRegression(C=calibration.STRENGTH).fit(clipped / clipped.std(), is_right)
    for value in (-1.5, 0.0, 1.5):
        ours = compute_probability(fit, ({**dict.fromkeys(FIGURES, 0.5), "rise": value}).get)
        assert ours == pytest.approx(expected.predict_proba([[value / clipped.std()]])[0, 1], abs=0.002)


def test_a_verdict_that_was_rarely_wrong_has_one_probability_and_a_rare_verdict_has_none():
    fits = fits_of(samples("leakage", range(60), [True] * 59 + [False]))
    assert fits["leakage"].weights == ()
    assert compute_probability(fits["leakage"], {}.get) == pytest.approx(59.5 / 61, abs=1e-3)
    assert fits_of(samples("leakage", range(10), [True] * 10)) == {}


def test_uninformative_figures_are_left_out():
    draw = np.random.default_rng(1)
    fits = fits_of(samples("healthy", draw.normal(size=200), draw.random(200) < 0.7))
    assert fits["healthy"].weights == ()


def test_each_fitted_code_is_a_verdict_and_each_weight_a_figure():
    codes = {rule.code for rule in RULES} | {"healthy", NO_RISE}
    for fits in (FITS_OF_JOBS, FITS_OF_HISTORIES):
        assert fits.keys() <= codes
        assert {weight.figure for fit in fits.values() for weight in fit.weights} <= FIGURES.keys()


@pytest.mark.parametrize("searches", [False, pytest.param(True, marks=pytest.mark.proof)])
def test_the_fit_in_the_code_follows_from_the_collection(records, tmp_path, monkeypatch, searches):
    """The short form skips the slow search among all pairs of figures."""
    if not searches:
        monkeypatch.setattr(calibration, "_chosen_figures", replay_chosen_figures())
    list(calibration.calibrate(records, tmp_path / "fit.py"))
    fitted: dict = {}
    exec((tmp_path / "fit.py").read_text(), fitted)
    for name, kept in (("FITS_OF_JOBS", FITS_OF_JOBS), ("FITS_OF_HISTORIES", FITS_OF_HISTORIES)):
        assert fitted[name].keys() == kept.keys()
        for code, fit in fitted[name].items():
            assert (fit.right, fit.wrong) == (kept[code].right, kept[code].wrong), code
            assert [weight.figure for weight in fit.weights] == [weight.figure for weight in kept[code].weights], code
            assert fit.intercept == pytest.approx(kept[code].intercept, abs=0.02)


def replay_chosen_figures():
    """Return a stand-in for the search: the figures of each fit in order, first of jobs and then of histories."""
    chosen = iter(
        tuple(weight.figure for weight in fit.weights)
        for fits in (FITS_OF_JOBS, FITS_OF_HISTORIES)
        for _, fit in sorted(fits.items())
        if min(fit.right, fit.wrong) >= calibration.FEWEST_WRONG
    )
    return lambda samples, right: next(chosen)


def test_findings_and_verdicts_have_a_confidence_and_infos_do_not(records):
    seen = 0
    for record in records[:200]:
        diagnosis, facts = as_job(record)
        assert diagnosis.confidence == compute_confidences(facts).get(diagnosis.verdict)
        for finding in diagnosis.findings:
            if finding.code == diagnosis.verdict and finding.severity != "info":
                assert finding.confidence == diagnosis.confidence
            if finding.confidence is not None:
                assert 0 < finding.confidence < 1
                seen += 1
    assert seen > 100


def test_a_history_of_another_program_uses_the_fit_of_histories():
    falling = tuple(2.0 * 0.8**epoch for epoch in range(20))
    rising = tuple(1.0 + 0.08 * abs(epoch - 6) for epoch in range(20))
    accuracy = tuple(0.9 - 0.01 * max(0, epoch - 6) for epoch in range(20))
    history = History(fit_loss=falling, fit_accuracy=accuracy, validation_loss=rising, validation_accuracy=accuracy)
    diagnosis = diagnose(history)
    facts = collect_facts(history, None, None, None)
    fit = FITS_OF_HISTORIES[diagnosis.verdict]
    assert diagnosis.confidence == compute_probability(fit, lambda name: FIGURES[name](facts))
    measured = replace(history, train_loss=falling, train_accuracy=accuracy, fit_loss=(), fit_accuracy=())
    assert diagnose(measured).confidence != diagnosis.confidence


def test_the_calibration_error_equals_that_of_scikit_learns_bins():
    draw = np.random.default_rng(2)
    chances = draw.uniform(size=500)
    right = (draw.random(500) < chances**2).astype(float)
    true, predicted = calibration_curve(right, chances, n_bins=confidence.BINS, strategy="quantile")
    assert confidence.calibration_error(chances, right) == pytest.approx(np.abs(true - predicted).mean(), abs=0.002)
    assert confidence.calibration_error(np.ones(100), np.ones(100)) == 0


def test_the_tables_of_confidence_can_be_printed(records):
    lines = [*confidence.tables(records, {7})]
    assert any("expected calibration error" in line for line in lines)
    assert any(line.startswith("| all |") for line in lines)
