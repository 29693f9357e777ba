"""Answers of a network that Heldout did not train: the verdicts that they allow, and their texts."""

import pytest

from heldout.diagnosis import Evaluation, History, diagnose
from heldout.stored.gap import StoredGap, Tally
from tests.heldout.diagnosis.made import figures

CLASSES = ("a", "b", "c", "d")


def tally(accuracy: float, count: int) -> Tally:
    return Tally(count=count, correct=round(accuracy * count), loss=2 * (1 - accuracy), loss_variance=0.5)


def answers(train: float | None, validation: float | None, test: float | None, count: int = 4000) -> Evaluation:
    given = {"train": train, "validation": validation, "test": test}
    known = {name: accuracy for name, accuracy in given.items() if accuracy is not None}
    gap = None
    if train is not None and test is not None:
        held = None if validation is None else tally(validation, count)
        gap = StoredGap(kept_epoch=0, epochs=0, train=tally(train, count), validation=held, test=tally(test, count))
    return Evaluation({name: figures(accuracy, count) for name, accuracy in known.items()}, CLASSES, gap=gap)


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((0.95, 0.94, 0.94), "healthy"),
        ((0.99, 0.8, 0.8), "too_little_data"),
        ((0.99, 0.97, 0.8), "split_shift"),
        ((0.45, 0.44, 0.44), "underfitting"),
        ((0.8, 0.9, 0.9), "label_noise"),
        ((0.99, 0.25, 0.25), "memorised_noise"),
        ((0.95, 0.94, None), "healthy"),
        ((0.95, None, 0.95), "healthy"),
        ((0.95, None, 0.7), "cannot_tell"),
        ((None, 0.95, 0.94), "cannot_tell"),
        ((0.95, None, None), "cannot_tell"),
    ],
)
def test_each_fault_that_answers_reveal_is_named(accuracies, verdict):
    found = diagnose(History(), None, answers(*accuracies))
    assert found.verdict == verdict
    assert (found.best_epoch, found.confidence) == (None, None)
    explanations = [found.explanation, *(finding.explanation for finding in found.findings)]
    advised = [remedy.reason for finding in found.findings for remedy in finding.remedies]
    for text in (*explanations, *advised):
        assert "job" not in text
        assert "upload" not in text
        assert "Train longer" not in text
        assert "known for no epoch" not in text


def test_a_healthy_verdict_says_which_images_it_is_about():
    assert "in the answers to training, validation and test images." in explain(0.95, 0.94, 0.94)
    assert "in the answers to training and test images." in explain(0.95, None, 0.95)


@pytest.mark.parametrize(
    ("accuracies", "missing"),
    [
        ((None, 0.9, 0.9), "Answers to training images are missing"),
        ((0.9, None, None), "Answers to validation and test images are missing"),
        ((0.95, None, 0.7), "Answers to validation images are missing"),
    ],
)
def test_what_is_missing_is_named(accuracies, missing):
    assert missing in explain(*accuracies)


def explain(*accuracies: float | None) -> str:
    return diagnose(History(), None, answers(*accuracies)).explanation


def test_without_validation_the_terms_lead_from_training_to_test():
    found = diagnose(History(), None, answers(0.95, None, 0.7))
    [term] = found.gap.terms
    assert (term.code, term.accuracy) == ("generalisation", pytest.approx(0.25))
    assert term.loss == pytest.approx(found.gap.loss)
    assert "Without answers to validation images, it is unknown" in term.explanation
    assert found.explanation.startswith(
        "Test accuracy (70.0%) is 25 points below training accuracy (95.0%): 25 from the gap"
    )


def test_few_images_make_a_difference_uncertain():
    found = diagnose(History(), None, answers(0.9, 0.75, 0.75, count=20))
    assert found.verdict in {"cannot_tell", "test_too_small"}
    assert "too_little_data" not in {finding.code for finding in found.findings}
