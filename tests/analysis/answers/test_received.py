"""Refusals of predictions say where the fault is, what was received, and what was expected."""

import numpy as np
import pytest

from analysis.answers.answers import PredictionsRefused
from analysis.answers.received import MAX_CLASSES, MAX_VALUES, GivenSplit, receive_answers

ROWS = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]
FINE = GivenSplit([0, 1, 1], ROWS)


def split(labels=(0, 1, 1), probabilities=ROWS, answers=None, hashes=None) -> GivenSplit:
    return GivenSplit(labels, None if answers else probabilities, answers, hashes)


@pytest.mark.parametrize(
    ("bad", "path", "words"),
    [
        (split(labels=[0, 1, 2]), ("labels", 2), "received 2; expected a whole number from 0 to 1. Classes"),
        (split(labels=[0, -1, 1]), ("labels", 1), "received -1; expected a whole number from 0 to 1"),
        (split(labels=[0, 1, 10**40]), ("labels", 2), "expected a whole number from 0 to 1"),
        (split(labels=[0, float("nan"), 1]), ("labels", 1), "received nan"),
        (split(labels=["cat", "dog", "dog"]), ("labels", 0), "give the name of each column"),
        (split(labels=np.eye(2)), ("labels",), "labels.argmax(axis=1)"),
        (split(labels=[]), ("labels",), "received no labels"),
        (split(labels=[0, 1]), ("probabilities",), "received 3 values for 2 labels"),
        (split(probabilities=[*ROWS[:2], [1.0]]), ("probabilities", 2), "expected 2 numbers, as in the first row"),
        (split(probabilities=[*ROWS[:2], [0.5, 0.9]]), ("probabilities", 2), "which sum to 1.4; expected 1"),
        (split(probabilities=[*ROWS[:2], [3.2, -1]]), ("probabilities", 2), "Apply a softmax to each row"),
        (split(probabilities=np.log(ROWS)), ("probabilities", 0), "logarithms of probabilities; apply `exp` to them"),
        (split(probabilities=100 * np.array(ROWS)), ("probabilities", 0), "percentages; divide them by 100"),
        (split(probabilities=[*ROWS[:2], [np.nan, 1]]), ("probabilities", 2), "expected finite numbers"),
        (split(probabilities=np.ones((3, 2, 2)) / 2), ("probabilities",), "expected (images, classes)"),
        (split(answers=[0, 1, 5]), ("answers", 2), "received 5; expected a whole number from 0 to 1"),
        (split(hashes=["a", "b"]), ("hashes",), "received 2 values for 3 labels"),
        (split(hashes=["a", "b", 0.5]), ("hashes", 2), "received 0.5; expected one text per image"),
        (split(probabilities=None), (), "received neither; expected `probabilities` or `answers`"),
    ],
)
def test_the_first_invalid_value_is_named(bad, path, words):
    with pytest.raises(PredictionsRefused) as refused:
        receive_answers({"train": FINE, "test": bad})
    assert refused.value.path == ("test", *path)
    assert words in str(refused.value)


def test_splits_with_different_numbers_of_classes_are_refused():
    three = split(probabilities=[[0.2, 0.3, 0.5]] * 3)
    with pytest.raises(PredictionsRefused, match="probabilities of 3 classes, but train has 2"):
        receive_answers({"train": FINE, "test": three})


@pytest.mark.parametrize(
    ("classes", "words"),
    [(3, "received 3 classes, but probabilities of 2"), (["a", "a"], "'a' twice"), (["a", "b", "c"], "received 3")],
)
def test_classes_that_do_not_match_the_probabilities_are_refused(classes, words):
    with pytest.raises(PredictionsRefused, match=words) as refused:
        receive_answers({"test": FINE}, classes)
    assert refused.value.path == ("classes",)


def test_a_single_class_is_refused_unless_more_are_declared():
    same_class = {"test": GivenSplit([0, 0], answers=[0, 0])}
    with pytest.raises(PredictionsRefused, match="received 1 class; expected 2 to 1,000"):
        receive_answers(same_class)
    assert receive_answers(same_class, 2).classes == ("0", "1")


def test_more_values_than_a_diagnosis_can_hold_are_refused():
    many = np.zeros(MAX_VALUES // MAX_CLASSES + 1, np.int64)
    with pytest.raises(PredictionsRefused, match="Send a random part of the images"):
        receive_answers({"test": GivenSplit(many, answers=many)}, MAX_CLASSES)


def test_classes_may_be_names_or_numbers_in_any_notation():
    """Integers, floats and strings from pandas, or names, in the order of the columns or sorted."""
    expected = receive_answers({"test": FINE}).splits["test"]
    for labels in ([0.0, 1.0, 1.0], ["0", "1", "1"], ["0.0", "1.0", "1.0"], np.array([0, 1, 1], np.uint8)):
        assert np.array_equal(receive_answers({"test": split(labels)}).splits["test"].labels, expected.labels)
    named = receive_answers({"test": split(["dog", "cat", "cat"])}, ["dog", "cat"])
    assert np.array_equal(named.splits["test"].labels, expected.labels)
    assert receive_answers({"test": split(["dog", "cat", "cat"], answers=["cat", "cat", "ant"])}).classes == (
        "ant",
        "cat",
        "dog",
    )


def test_one_number_per_image_is_the_probability_of_the_second_class():
    expected = receive_answers({"test": FINE}).splits["test"]
    for numbers in ([0.1, 0.8, 0.7], [[0.1], [0.8], [0.7]], np.array([0.1, 0.8, 0.7])):
        found = receive_answers({"test": split(probabilities=numbers)}).splits["test"]
        assert np.array_equal(found.classes, expected.classes)
        assert found.losses == pytest.approx(expected.losses)
