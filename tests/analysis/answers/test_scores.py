"""Scores by class, compared with scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from analysis.answers.temperature import apply_temperature, compute_scores, fit_temperature
from heldout.stored.evaluation import StoredClassScores

CLASSES = 5


@pytest.fixture
def predictions():
    """Probabilities that are right for two of three images, and a class that is never predicted."""
    random = np.random.default_rng(3)
    labels = random.integers(0, CLASSES, 400).astype(np.int32)
    logits = random.normal(size=(400, CLASSES)) + 2 * np.eye(CLASSES)[labels]
    logits[:, 4] = -9
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return chances.astype(np.float32), labels


def test_counts_and_scores_equal_those_of_scikit_learn(predictions):
    chances, labels = predictions
    found = compute_scores(chances, labels, np.arange(400))
    answers = chances.argmax(axis=1)
    assert [list(row) for row in found.confusion] == confusion_matrix(labels, answers, labels=range(CLASSES)).tolist()
    precision, recall, f1, count = precision_recall_fscore_support(
        labels, answers, labels=range(CLASSES), zero_division=np.nan
    )
    for label, scores in enumerate(found.per_class):
        assert scores.count == count[label]
        assert scores.recall == pytest.approx(recall[label])
        if label < 4:
            assert scores.precision == pytest.approx(precision[label])
            assert scores.f1 == pytest.approx(f1[label])
    assert found.per_class[4].precision is None
    assert (found.per_class[4].recall, found.per_class[4].f1) == (0, 0)


def test_the_calibration_error_is_the_mean_distance_between_confidence_and_accuracy(predictions):
    chances, labels = predictions
    sure, right = chances.max(axis=1).astype(np.float64), chances.argmax(axis=1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (sure >= low) & (sure < low + 1 / 15) if low < 14 / 15 else sure >= low
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert compute_scores(chances, labels, np.arange(400)).calibration_error == pytest.approx(expected, abs=1e-9)


def test_the_most_confident_mistakes_come_first_with_the_positions_of_their_images(predictions):
    chances, labels = predictions
    mistakes = compute_scores(chances, labels, np.arange(1000, 1400)).mistakes
    assert len(mistakes) == 20
    assert [mistake.probability for mistake in mistakes] == sorted(
        (mistake.probability for mistake in mistakes), reverse=True
    )
    for mistake in mistakes:
        row = mistake.index - 1000
        assert mistake.label == labels[row] != mistake.answer == chances[row].argmax()


def test_a_split_without_images_has_no_scores():
    found = compute_scores(np.empty((0, 3), np.float32), np.empty(0, np.int32), np.empty(0, np.int64))
    assert found.calibration_error is None
    assert found.mistakes == ()
    assert found.per_class[0] == StoredClassScores(count=0, precision=None, recall=None, f1=None)


def test_a_network_without_a_wrong_answer_is_not_made_fully_certain(predictions):
    """After 100 correct answers the next may still be wrong."""
    chances, _ = predictions
    logs = np.log(chances[:100].astype(np.float64))
    temperature = fit_temperature(logs, logs.argmax(axis=1).astype(np.int32))
    confidence = np.exp(apply_temperature(logs, temperature)).max(axis=1)
    assert 0.95 < confidence.mean() < 0.999
