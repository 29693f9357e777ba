"""Wrong class names are distinguished from the confusions of a weak network, on simulated answers with known truth."""

import numpy as np
import pytest

from analysis.answers.answers import Answers, Predictions
from analysis.answers.renamed_labels import choose_renaming, count_confusion


def drawn(draw: np.random.Generator, chances: np.ndarray, count: int) -> Answers:
    """Answers to images of known classes; `chances` has for each class how likely each answer is."""
    classes = len(chances)
    labels = draw.integers(0, classes, count)
    said = np.array([draw.choice(classes, p=chances[label]) for label in labels])
    probabilities = np.full((count, classes), 0.1 / (classes - 1), np.float32)
    probabilities[np.arange(count), said] = 0.9
    losses = -np.log(probabilities[np.arange(count), labels])
    return Answers.to(labels.astype(np.int32), Predictions(probabilities, losses))


def named_otherwise(answers: Answers, meant: np.ndarray) -> Answers:
    """The same answers under labels of which each means another class: label l the class meant[l]."""
    labels = np.argsort(meant)[answers.labels].astype(np.int32)
    return Answers(labels, answers.probabilities, np.ones(len(labels)), answers.classes)


def weak_network(draw: np.random.Generator, classes: int, known: float) -> np.ndarray:
    """How a network answers that knows this share of the images and confuses some classes with some others."""
    return known * np.eye(classes) + (1 - known) * draw.dirichlet(np.full(classes, 0.2), classes)


@pytest.mark.parametrize(("classes", "known"), [(3, 0.2), (10, 0.1), (10, 0.3), (10, 0.8), (50, 0.5)])
def test_confusions_are_not_taken_for_wrong_names(classes, known):
    draw = np.random.default_rng(classes)
    for _ in range(20):
        chances = weak_network(draw, classes, known)
        validation = count_confusion(drawn(draw, chances, 400), classes)
        assert choose_renaming(drawn(draw, chances, 400), validation) is None


def test_wrong_names_are_found_although_the_network_confuses_classes():
    draw = np.random.default_rng(0)
    meant = (np.arange(10) + 3) % 10
    for _ in range(20):
        chances = weak_network(draw, 10, 0.4)
        validation = count_confusion(drawn(draw, chances, 400), 10)
        answers = named_otherwise(drawn(draw, chances, 500), meant)
        assert choose_renaming(answers, validation) == tuple(meant)


@pytest.mark.parametrize("usual", [(), ((1, 0, 2),)])
def test_classes_that_are_always_taken_for_each_other_keep_their_names(usual):
    """Two of three classes are mostly answered as the other one, on validation as well."""
    draw = np.random.default_rng(0)
    chances = np.array([[0.2, 0.75, 0.05], [0.75, 0.2, 0.05], [0.05, 0.05, 0.9]])
    validation = count_confusion(drawn(draw, chances, 300), 3)
    answers = drawn(draw, chances, 300)
    assert answers.under((1, 0, 2)).right.sum() > answers.right.sum() + 50
    assert choose_renaming(answers, validation, usual) is None


def test_answers_that_name_the_next_class_a_little_too_often_are_no_mistake_of_numbering():
    """A quarter of them, where validation images of these classes are nearly all right: a renaming would bring more."""
    draw = np.random.default_rng(0)
    validation = count_confusion(drawn(draw, 0.9 * np.eye(10) + 0.01, 400), 10)
    chances = np.full((10, 10), 0.65 / 8)
    for label in range(10):
        chances[label, label], chances[label, (label + 1) % 10] = 0.1, 0.25
    meant = [*range(1, 10), 0]
    assert choose_renaming(drawn(draw, chances, 600), validation, [meant]) is None


def test_a_usual_mistake_is_found_by_fewer_images_than_any_other_renaming():
    """Half of 160 images of 20 classes, of which the network knows four in ten."""
    draw, found = np.random.default_rng(0), []
    meant = (np.arange(20) + 1) % 20
    for _ in range(20):
        chances = weak_network(draw, 20, 0.4)
        validation = count_confusion(drawn(draw, chances, 400), 20)
        answers = named_otherwise(drawn(draw, chances, 80), meant)
        found.append((choose_renaming(answers, validation), choose_renaming(answers, validation, [list(meant)])))
        assert choose_renaming(drawn(draw, chances, 80), validation, [list(meant)]) is None
    assert sum(known == tuple(meant) for _, known in found) >= 15
    assert sum(unknown == tuple(meant) for unknown, _ in found) <= 5


def test_a_handful_of_images_says_nothing_of_names():
    draw = np.random.default_rng(0)
    chances = weak_network(draw, 10, 0.9)
    validation = count_confusion(drawn(draw, chances, 400), 10)
    answers = named_otherwise(drawn(draw, chances, 9), (np.arange(10) + 1) % 10)
    assert choose_renaming(answers, validation) is None


def test_only_the_exchanged_names_are_changed():
    draw = np.random.default_rng(0)
    meant = np.array([0, 2, 1, 3, 4])
    chances = weak_network(draw, 5, 0.7)
    validation = count_confusion(drawn(draw, chances, 300), 5)
    answers = named_otherwise(drawn(draw, chances, 300), meant)
    assert choose_renaming(answers, validation) == tuple(meant)


def test_two_classes_that_are_both_taken_for_one_of_them_keep_their_names():
    """Like rotated images: one class is always answered as the other, and that one mostly as itself."""
    draw = np.random.default_rng(0)
    validation = count_confusion(drawn(draw, 0.8 * np.eye(4) + 0.05, 400), 4)
    shifted = np.full((4, 4), 0.02) + np.diag([0.0, 0.4, 0.92, 0.92])
    shifted[0] = [0.01, 0.97, 0.01, 0.01]
    shifted[1] = [0.1, 0.4, 0.25, 0.25]
    answers = drawn(draw, shifted / shifted.sum(axis=1, keepdims=True), 400)
    exchanged = (1, 0, 2, 3)
    assert answers.under(exchanged).right.sum() > answers.right.sum() + 20
    assert choose_renaming(answers, validation) is None
