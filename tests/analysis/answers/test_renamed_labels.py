"""Wrong class names are distinguished from the confusions of a weak network, on simulated answers."""

import numpy as np
import pytest

from analysis.answers.answers import Answers, Predictions
from analysis.answers.renamed_labels import choose_renaming, count_confusion


def draw_answers(draw: np.random.Generator, chances: np.ndarray, count: int) -> Answers:
    """Draw answers to images of known classes; row i of `chances` has the probability of each answer to class i."""
    classes = len(chances)
    labels = draw.integers(0, classes, count)
    answered = np.array([draw.choice(classes, p=chances[label]) for label in labels])
    probabilities = np.full((count, classes), 0.1 / (classes - 1), np.float32)
    probabilities[np.arange(count), answered] = 0.9
    losses = -np.log(probabilities[np.arange(count), labels])
    return Answers.to(labels.astype(np.int32), Predictions(probabilities, losses))


def rename_labels(answers: Answers, meant: np.ndarray) -> Answers:
    """Return the same answers under changed labels: label l stands for the class meant[l]."""
    labels = np.argsort(meant)[answers.labels].astype(np.int32)
    return Answers(labels, answers.probabilities, np.ones(len(labels)), answers.classes)


def simulate_weak_network(draw: np.random.Generator, classes: int, known: float) -> np.ndarray:
    """Return the answer probabilities of a network that knows this share of images and confuses some classes."""
    return known * np.eye(classes) + (1 - known) * draw.dirichlet(np.full(classes, 0.2), classes)


@pytest.mark.parametrize(("classes", "known"), [(3, 0.2), (10, 0.1), (10, 0.3), (10, 0.8), (50, 0.5)])
def test_confusions_are_not_mistaken_for_wrong_names(classes, known):
    draw = np.random.default_rng(classes)
    for _ in range(20):
        chances = simulate_weak_network(draw, classes, known)
        validation = count_confusion(draw_answers(draw, chances, 400), classes)
        assert choose_renaming(draw_answers(draw, chances, 400), validation) is None


def test_wrong_names_are_found_even_if_the_network_confuses_classes():
    draw = np.random.default_rng(0)
    meant = (np.arange(10) + 3) % 10
    for _ in range(20):
        chances = simulate_weak_network(draw, 10, 0.4)
        validation = count_confusion(draw_answers(draw, chances, 400), 10)
        answers = rename_labels(draw_answers(draw, chances, 500), meant)
        assert choose_renaming(answers, validation) == tuple(meant)


@pytest.mark.parametrize("usual", [(), ((1, 0, 2),)])
def test_classes_that_are_always_confused_keep_their_names(usual):
    """The network mostly swaps two of three classes, on validation as well."""
    draw = np.random.default_rng(0)
    chances = np.array([[0.2, 0.75, 0.05], [0.75, 0.2, 0.05], [0.05, 0.05, 0.9]])
    validation = count_confusion(draw_answers(draw, chances, 300), 3)
    answers = draw_answers(draw, chances, 300)
    assert answers.under((1, 0, 2)).right.sum() > answers.right.sum() + 50
    assert choose_renaming(answers, validation, usual) is None


def test_naming_the_next_class_a_little_too_often_is_not_a_numbering_mistake():
    """They are a quarter of the answers. With validation nearly perfect, a real renaming would cause far more."""
    draw = np.random.default_rng(0)
    validation = count_confusion(draw_answers(draw, 0.9 * np.eye(10) + 0.01, 400), 10)
    chances = np.full((10, 10), 0.65 / 8)
    for label in range(10):
        chances[label, label], chances[label, (label + 1) % 10] = 0.1, 0.25
    meant = [*range(1, 10), 0]
    assert choose_renaming(draw_answers(draw, chances, 600), validation, [meant]) is None


def test_a_common_mistake_is_found_with_fewer_images_than_another_renaming():
    """Half of 160 images of 20 classes; the network knows 40% of them."""
    draw, found = np.random.default_rng(0), []
    meant = (np.arange(20) + 1) % 20
    for _ in range(20):
        chances = simulate_weak_network(draw, 20, 0.4)
        validation = count_confusion(draw_answers(draw, chances, 400), 20)
        answers = rename_labels(draw_answers(draw, chances, 80), meant)
        found.append((choose_renaming(answers, validation), choose_renaming(answers, validation, [list(meant)])))
        assert choose_renaming(draw_answers(draw, chances, 80), validation, [list(meant)]) is None
    assert sum(known == tuple(meant) for _, known in found) >= 15
    assert sum(unknown == tuple(meant) for unknown, _ in found) <= 5


def test_a_handful_of_images_is_too_little_evidence_of_wrong_names():
    draw = np.random.default_rng(0)
    chances = simulate_weak_network(draw, 10, 0.9)
    validation = count_confusion(draw_answers(draw, chances, 400), 10)
    answers = rename_labels(draw_answers(draw, chances, 9), (np.arange(10) + 1) % 10)
    assert choose_renaming(answers, validation) is None


def test_only_swapped_names_are_changed():
    draw = np.random.default_rng(0)
    meant = np.array([0, 2, 1, 3, 4])
    chances = simulate_weak_network(draw, 5, 0.7)
    validation = count_confusion(draw_answers(draw, chances, 300), 5)
    answers = rename_labels(draw_answers(draw, chances, 300), meant)
    assert choose_renaming(answers, validation) == tuple(meant)


def test_two_classes_that_are_both_answered_as_one_keep_their_names():
    """With rotated images, one class may always be answered as the other, which is mostly answered as itself."""
    draw = np.random.default_rng(0)
    validation = count_confusion(draw_answers(draw, 0.8 * np.eye(4) + 0.05, 400), 4)
    shifted = np.full((4, 4), 0.02) + np.diag([0.0, 0.4, 0.92, 0.92])
    shifted[0] = [0.01, 0.97, 0.01, 0.01]
    shifted[1] = [0.1, 0.4, 0.25, 0.25]
    answers = draw_answers(draw, shifted / shifted.sum(axis=1, keepdims=True), 400)
    exchanged = (1, 0, 2, 3)
    assert answers.under(exchanged).right.sum() > answers.right.sum() + 20
    assert choose_renaming(answers, validation) is None
