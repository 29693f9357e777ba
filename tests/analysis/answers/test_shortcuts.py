"""Shortcuts: a column that alone predicts labels is a note, and more only if exchanging a property costs answers."""

import numpy as np
import pytest

from analysis.answers.answers import Answers
from analysis.answers.groups import measure_groups
from analysis.answers.shortcuts import PROPERTIES, intervene, make_mask
from heldout.diagnosis import Evaluation, diagnose
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.history import History
from heldout.diagnosis.rules.groups import list_suspected
from heldout.stored.evaluation import StoredColumn

COUNT = 300


def draw_images(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with labels that it says nothing about."""
    draw = np.random.default_rng(seed)
    return draw.uniform(60, 100, (COUNT, 16, 16, 3)).astype(np.float32), draw.integers(0, 2, COUNT).astype(np.int32)


def plant(what: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    planted = images.copy()
    if what == "brightness":
        planted += 80 * labels[:, None, None, None]
    elif what != "object":
        mask = make_mask(what, 16, 16)
        planted[:, mask] = np.where(labels[:, None, None] == 1, 255, planted[:, mask])
    else:
        planted[:, 5:11, 5:11] += 100 * labels[:, None, None, None]
    return planted


def answer_by(what: str):
    """A network that answers by the mean brightness of one place."""
    mask = np.ones((16, 16), bool) if what == "brightness" else np.zeros((16, 16), bool)
    if what == "object":
        mask[5:11, 5:11] = True
    elif what != "brightness":
        mask = make_mask(what, 16, 16)
    return lambda pixels, _labels: (pixels[:, mask].mean(axis=(1, 2)) > 120).astype(np.int64)


@pytest.mark.parametrize("what", PROPERTIES)
def test_the_planted_property_alone_is_confirmed(what):
    images, labels = draw_images()
    found = intervene(plant(what, images, labels), labels, answer_by(what), (0, 255))
    assert what in {each.what for each in found if each.is_confirmed}
    [planted] = [each for each in found if each.what == what]
    assert planted.right == COUNT
    assert planted.points == pytest.approx((planted.right_control - planted.right_changed) / COUNT)
    assert planted.changed
    # The border has the corners' outer pixels, and a corner a part of the border, but no place has much of another.
    assert max(found, key=lambda each: each.points).what == what


def test_nothing_is_confirmed_for_a_network_that_looks_at_the_object():
    images, labels = draw_images()
    found = intervene(plant("object", images, labels), labels, answer_by("object"), (0, 255))
    assert [each.what for each in found if each.is_confirmed] == []


def test_a_set_of_one_class_has_nothing_to_exchange():
    images, labels = draw_images()
    assert intervene(images, np.zeros_like(labels), answer_by("border"), (0, 255)) == ()


def diagnose_column(share: float, accuracy: float, interventions=(), seed: int = 0):
    """The finding for a column that has the label's value in this share of images, and a random one otherwise."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 4, 2 * COUNT).astype(np.int32)
    values = np.where(draw.random(2 * COUNT) < share, labels, draw.integers(0, 4, 2 * COUNT))
    predicted = np.where(draw.random(2 * COUNT) < accuracy, labels, (labels + 1) % 4)
    rows = {"train": np.arange(COUNT), "test": np.arange(COUNT, 2 * COUNT)}
    answers = {split: Answers.without_probabilities(labels[where], predicted[where]) for split, where in rows.items()}
    [column] = measure_groups({"camera": [f"c{value}" for value in values]}, answers, rows)["test"]
    if share > 0:  # otherwise most images of a value have any label
        assert column.right_by_column == (labels == values)[COUNT:].sum()
    right = float(answers["test"].right.mean())
    figures = SplitFigures(right, COUNT, columns=(column,), interventions=interventions)
    found = diagnose(History(), None, Evaluation({"test": figures}, tuple("abcd")))
    return next((finding for finding in found.findings if finding.code == "shortcut_suspected"), None), found


def test_a_column_that_predicts_the_label_is_a_note_until_an_exchange_confirms_it():
    images, labels = draw_images()
    note, diagnosis = diagnose_column(0.95, 0.95)
    assert note.severity == "info"
    assert diagnosis.verdict != "shortcut_suspected"
    refuted = intervene(plant("object", images, labels), labels, answer_by("object"), (0, 255))
    assert diagnose_column(0.95, 0.95, refuted)[0].severity == "info"
    tried = intervene(plant("border", images, labels), labels, answer_by("border"), (0, 255))
    confirmed, diagnosis = diagnose_column(0.95, 0.95, tried)
    assert (confirmed.severity, confirmed.evidence["what"], diagnosis.verdict) == ("warning", "border", confirmed.code)
    assert "Exchanging the border between classes costs" in confirmed.explanation


@pytest.mark.parametrize(("share", "accuracy"), [(0.5, 0.95), (0.0, 0.25), (0.0, 0.3)])
def test_a_column_that_predicts_less_than_the_network_or_no_more_than_a_guess_is_not_reported(share, accuracy):
    assert [diagnose_column(share, accuracy, seed=seed)[0] for seed in range(20)] == [None] * 20


def test_columns_share_the_probability_that_one_is_suspected_by_chance():
    def make(right):
        return StoredColumn(name=f"column {right}", groups=(), right_by_column=right, right_by_majority=20)

    assert list_suspected([make(35)], (35, 100)) == [make(35)]
    assert list_suspected([make(35), *[make(20)] * 24], (35, 100)) == []
    assert list_suspected([make(60), *[make(20)] * 24], (60, 100)) == [make(60)]
