"""Two models on the same images are compared as SciPy's bootstrap and statsmodels' McNemar test do it."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.weightstats import DescrStatsW

from analysis.answers.answers import Predictions
from worker.training.finish import compare_predictions

COUNT, CLASSES = 1200, 5


def answering(labels, wrong, seed: int) -> Predictions:
    """Predictions that name the label but for the images in `wrong`, each as surely as chance has it."""
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
    return labels, answering(labels, hard < 0.16, 1), answering(labels, (hard < 0.10) | (hard > 0.98), 2)


def test_the_p_value_is_that_of_the_exact_mcnemar_test(models):
    labels, one, other = models
    right, right_other = (model.probabilities.argmax(axis=1) == labels for model in (one, other))
    table = [[(a & b).sum() for b in (right_other, ~right_other)] for a in (right, ~right)]
    found = compare_predictions(one, other, labels)
    assert found["accuracy"]["p"] == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
    assert found["accuracy"]["difference"] == pytest.approx(right_other.mean() - right.mean())
    assert found["count"] == COUNT


@pytest.mark.parametrize("figure", ["accuracy", "loss"])
def test_the_bootstrap_s_interval_is_near_that_of_the_paired_t_test(models, figure):
    """Of 1,200 differences the mean is normal; pairing makes the interval narrower than that of two samples."""
    labels, one, other = models
    right, right_other = (model.probabilities.argmax(axis=1) == labels for model in (one, other))
    differences = {
        "accuracy": right_other.astype(float) - right,
        "loss": one.losses.astype(float) - other.losses,
    }[figure]
    low, high = compare_predictions(one, other, labels)[figure]["interval"]
    expected = DescrStatsW(differences).tconfint_mean()
    assert (low, high) == pytest.approx(expected, abs=0.1 * (expected[1] - expected[0]))
    assert low > 0  # this many images prove the difference


def test_the_order_of_the_models_turns_the_sign_and_a_comparison_repeats(models):
    labels, one, other = models
    there, back = compare_predictions(one, other, labels), compare_predictions(other, one, labels)
    assert back["loss"]["difference"] == pytest.approx(-there["loss"]["difference"])
    assert back["accuracy"]["p"] == there["accuracy"]["p"]
    assert compare_predictions(one, other, labels) == there


def test_a_model_next_to_itself_differs_by_nothing(models):
    labels, one, _ = models
    nothing = {"difference": 0.0, "interval": [0.0, 0.0]}
    assert compare_predictions(one, one, labels) == {"count": COUNT, "accuracy": nothing | {"p": 1.0}, "loss": nothing}
