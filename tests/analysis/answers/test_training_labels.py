"""What answers to training images say about their labels: counts, compared with plain loops and with scikit-learn."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from analysis.answers.answers import Answers, Predictions
from analysis.answers.training_labels import MAX_CLASSES, count_contradictions, divide_losses

CLASSES = 4


def make_answers(count: int = 203, seed: int = 0) -> Answers:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, CLASSES - 1, count).astype(np.int32)  # the last class has no images
    logits = draw.normal(size=(count, CLASSES)) * draw.uniform(0.2, 4, (count, 1))
    logits[np.arange(count), labels] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    losses = -np.log(probabilities[np.arange(count), labels])
    return Answers.to(labels, Predictions(probabilities.astype(np.float32), losses))


def test_the_surest_answers_that_contradict_labels_are_counted_by_tenth_and_by_class():
    answers = make_answers()
    found = count_contradictions(answers, 3, CLASSES)
    surest_first = sorted(range(len(answers)), key=lambda image: -answers.probabilities[image].max())
    fifth = surest_first[: found.surest]
    assert (found.epoch, found.count, found.correct) == (3, 203, int(answers.right.sum()))
    assert found.surest == sum(tenth.count for tenth in found.tenths[:2]) == 42  # tenths of 21, then of 20
    assert found.contradicted == sum(not answers.right[image] for image in fifth) > 0
    assert sum(tenth.count for tenth in found.tenths) == 203
    assert sum(tenth.contradicted for tenth in found.tenths) == 203 - found.correct
    assert [tenth.probability for tenth in found.tenths] == sorted(
        (tenth.probability for tenth in found.tenths), reverse=True
    )
    for label, of_class in enumerate(found.classes):
        images = [image for image in fifth if answers.labels[image] == label]
        assert of_class.surest == len(images)
        assert of_class.contradicted == sum(not answers.right[image] for image in images)
        assert (of_class.count, of_class.correct) == (
            int((answers.labels == label).sum()),
            int(answers.right[answers.labels == label].sum()),
        )


def test_a_class_claims_the_images_for_which_it_is_as_probable_as_for_its_own():
    answers = make_answers()
    found = count_contradictions(answers, 0, CLASSES)
    usual = [answers.probabilities[answers.labels == label, label].mean() for label in range(CLASSES - 1)]
    claimed = others = 0
    for said, label in zip(answers.probabilities, answers.labels, strict=True):
        possible = [of for of in range(CLASSES - 1) if said[of] >= usual[of]]
        claimed += bool(possible)
        others += bool(possible) and max(possible, key=said.__getitem__) != label
    assert (found.claimed, found.claimed_by_others) == (claimed, others)
    assert 0 < others < claimed


def test_classes_are_left_out_if_they_are_many_and_nothing_is_counted_without_probabilities():
    answers = make_answers()
    assert count_contradictions(answers, 0, MAX_CLASSES + 1).classes == ()
    assert count_contradictions(Answers.without_probabilities(answers.labels, answers.classes), 0, CLASSES) is None
    assert count_contradictions(answers.of(np.empty(0, np.int64)), 0, CLASSES) is None


def test_losses_are_divided_where_it_explains_most():
    draw = np.random.default_rng(0)
    means = np.concatenate([draw.normal(0.5, 0.1, 150), draw.normal(2.5, 0.3, 50)]).astype(np.float32)
    found = divide_losses(draw.permutation(means) * 7, 7)
    clusters = KMeans(2, n_init=5, random_state=0).fit(means[:, None])
    assert (found.epochs, found.count, found.hard) == (7, 200, 50)
    assert [found.easy_loss, found.hard_loss] == pytest.approx(sorted(clusters.cluster_centers_[:, 0]), rel=1e-4)
    assert found.separation == pytest.approx(1 - clusters.inertia_ / (means.var() * 200), rel=1e-4)
    assert found.quantiles == pytest.approx(np.quantile(means, np.arange(1, 10) / 10), rel=1e-5)
    normal = divide_losses(draw.normal(5, 1, 20_000), 1)
    assert normal.separation == pytest.approx(2 / np.pi, abs=0.01)


def test_losses_that_cannot_be_divided_give_nothing():
    assert divide_losses(np.array([1.0, np.inf]), 1) is None
    assert divide_losses(np.array([1.0]), 1) is None
    assert divide_losses(np.ones(5), 0) is None
    assert divide_losses(np.ones(5), 1).separation == 0
