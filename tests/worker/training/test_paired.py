"""Comparisons of two models on the same images agree with a paired t test and McNemar's test of statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.weightstats import DescrStatsW

from analysis.answers.answers import Predictions
from worker.training.finalize import compare_predictions

COUNT, CLASSES = 1200, 5


def make_predictions(labels, wrong, seed: int) -> Predictions:
    """Make predictions that are right except for the images in `wrong`, with random losses."""
    draw = np.random.default_rng(seed)
    named = np.where(wrong, (labels + 1) % CLASSES, labels)
    probabilities = np.full((len(labels), CLASSES), 0.05, np.float32)
    probabilities[np.arange(len(labels)), named] = 0.8
    return Predictions(probabilities, (draw.gamma(2, 0.2, len(labels)) + 1.5 * wrong).astype(np.float32))


@pytest.fixture(scope="module")
def models():
    draw = np.random.default_rng(3)
    labels = draw.integers(CLASSES, size=COUNT).astype(np.int32)
    hard = draw.random(COUNT)
    return labels, make_predictions(labels, hard < 0.16, 1), make_predictions(labels, (hard < 0.10) | (hard > 0.98), 2)


def test_the_p_value_is_that_of_the_exact_mcnemar_test(models):
    labels, first, second = models
    right, second_right = (model.probabilities.argmax(axis=1) == labels for model in (first, second))
    table = [[(a & b).sum() for b in (second_right, ~second_right)] for a in (right, ~right)]
    found = compare_predictions(first, second, labels)
    assert found["accuracy"]["p"] == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
    assert found["accuracy"]["difference"] == pytest.approx(second_right.mean() - right.mean())
    assert found["count"] == COUNT


@pytest.mark.parametrize("figure", ["accuracy", "loss"])
def test_the_bootstrap_interval_is_close_to_that_of_a_paired_t_test(models, figure):
    """The mean of 1,200 differences is normal. Pairing makes the interval narrower than that of two samples."""
    labels, first, second = models
    right, second_right = (model.probabilities.argmax(axis=1) == labels for model in (first, second))
    differences = {"accuracy": second_right.astype(float) - right, "loss": first.losses.astype(float) - second.losses}[
        figure
    ]
    low, high = compare_predictions(first, second, labels)[figure]["interval"]
    expected = DescrStatsW(differences).tconfint_mean()
    assert (low, high) == pytest.approx(expected, abs=0.1 * (expected[1] - expected[0]))
    assert low > 0  # this many images show the difference


def test_swapping_the_models_changes_the_sign_and_comparisons_repeat(models):
    labels, first, second = models
    there, back = compare_predictions(first, second, labels), compare_predictions(second, first, labels)
    assert back["loss"]["difference"] == pytest.approx(-there["loss"]["difference"])
    assert back["accuracy"]["p"] == there["accuracy"]["p"]
    assert compare_predictions(first, second, labels) == there


def test_a_model_does_not_differ_from_itself(models):
    labels, first, _ = models
    nothing = {"difference": 0.0, "interval": [0.0, 0.0]}
    assert compare_predictions(first, first, labels) == {
        "count": COUNT,
        "accuracy": nothing | {"p": 1.0},
        "loss": nothing,
    }
