"""The figures of the benchmark of suspected labels, against scikit-learn's and an example by hand."""

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.suspects import area_under_curve, confident_learning, planted, precision


def test_the_area_and_the_precision_are_those_of_others():
    draws = np.random.default_rng(0)
    wrong = draws.random(500) < 0.1
    score = np.round(draws.normal(wrong, 1.0), 1)  # with ties
    assert np.isclose(area_under_curve(score, wrong), roc_auc_score(wrong, score))
    assert precision(np.array([3.0, 1.0, 2.0]), np.array([True, True, False]), 2) == 0.5


def test_confident_learning_flags_what_reaches_another_class_threshold():
    labels = np.array([0, 0, 0, 1, 1])
    said = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.4, 0.6]])
    # The thresholds are 0.6 and 0.65: the third image alone reaches the other class' one.
    assert confident_learning(said, labels).tolist() == [False, False, True, False, False]


def test_as_many_labels_are_wrong_as_were_planted():
    labels = np.arange(200, dtype=np.int32) % 10
    uniform, pairs = (planted(labels, kind, 0.15, 10, 1) for kind in ("uniform", "pairs"))
    assert (uniform != labels).sum() == (pairs != labels).sum() == 30
    assert set(((pairs - labels) % 10).tolist()) == {0, 1}
    assert len(set(((uniform - labels) % 10).tolist())) > 5
