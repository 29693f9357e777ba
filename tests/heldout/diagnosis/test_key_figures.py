"""Every diagnosis begins with the accuracy on each split, the gap, and the weakest class."""

import numpy as np
import pytest

from heldout.diagnosis import Evaluation, History, diagnose
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.key_figures import list_key_figures
from heldout.documents.blocks import Document
from heldout.documents.diagnosis import build_diagnosis
from heldout.documents.markdown import render_markdown
from heldout.documents.terminal import render_terminal
from heldout.views.diagnosis import DiagnosisView
from tests.heldout.diagnosis.made_gap import Made, answers
from tests.heldout.diagnosis.test_causes import audit_of, confusion, judged


def copied_test() -> Made:
    test = answers(0.45, 1000, 2)
    copied = np.arange(1000) < 500
    test.right[copied] = True
    return Made(answers(1.0, 500), answers(0.45, 1000, 1), test, test_copied=copied)


@pytest.mark.parametrize(
    ("made", "audit", "verdict"),
    [
        (copied_test(), audit_of("leakage", test_in_train={"images": 500, "share": 0.5}), "leakage"),
        (Made(answers(1.0, 500), answers(0.99, 1000, 1), answers(0.4, 1000, 2)), None, "split_shift"),
        (Made(answers(0.99, 500), answers(0.98, 1000, 1), answers(0.98, 1000, 2)), None, "healthy"),
    ],
)
def test_figures_are_there_whatever_the_verdict(made, audit, verdict):
    weakest = [10, *[0] * 8, 10]  # of class a
    found = judged(made, audit=audit, test=(tuple(weakest), *confusion(100, {0: 0.8})[1:]))
    assert found.verdict == verdict
    view = DiagnosisView.of(found)
    lines = {figure.code: figure.line for figure in view.figures}
    train, validation, test = (split.tally() for split in (made.train, made.validation, made.test))
    assert lines == {
        "train": f"{train.accuracy:.1%} of 500 images",
        "validation": f"{validation.accuracy:.1%} of 1,000 images",
        "test": f"{test.accuracy:.1%} of 1,000 images",
        "gap": f"{100 * (train.accuracy - test.accuracy):.1f} points from training to test",
        "weakest_class": '"a" with 10 of 20 test images right',
    }
    forms = "\n".join(render_terminal(build_diagnosis(view))), render_markdown(Document("", build_diagnosis(view)))
    forms = (*forms, view._repr_html_().replace("&quot;", '"'))
    for shown in forms:
        start = found.explanation.partition(" ")[0]
        places = [shown.index(figure.line) for figure in view.figures]
        assert places == sorted(places)
        assert places[-1] < shown.index(start, places[-1])


def test_the_weakest_class_is_of_validation_if_test_was_not_measured():
    splits = {
        "train": SplitFigures(0.9, 10),
        "validation": SplitFigures(0.5, 40, confusion=((10, 10), (12, 8))),
        "test": None,
    }
    found = {figure.code: figure for figure in list_key_figures(splits, ("cat", "dog"))}
    assert found["test"].text == "not measured"
    assert found["gap"].note == "from training to validation"
    assert (found["weakest_class"].text, found["weakest_class"].value) == ('"dog"', 0.4)


def test_a_test_set_that_is_easier_has_a_negative_gap():
    splits = {"train": SplitFigures(0.8, 10), "test": SplitFigures(0.9, 10)}
    assert {figure.code: figure.text for figure in list_key_figures(splits, ())}["gap"] == "−10.0 points"


def test_a_training_that_has_not_ended_shows_its_last_epoch():
    recorded = History(train_accuracy=(0.5, 0.9), validation_accuracy=(0.4, 0.7))
    found = DiagnosisView.of(diagnose(recorded)).figures
    assert [(figure.code, figure.line) for figure in found] == [
        ("train", "90.0% in epoch 2"),
        ("validation", "70.0% in epoch 2"),
        ("test", "not measured"),
        ("gap", "20.0 points from training to validation"),
    ]


def test_an_accuracy_that_fit_reports_is_no_part_of_a_gap():
    found = diagnose(History(fit_accuracy=(0.5, 0.9), validation_accuracy=(0.4, 0.6))).figures
    assert [(figure.code, figure.text) for figure in found] == [
        ("train", "90.0%"),
        ("validation", "60.0%"),
        ("test", "not measured"),
    ]
    assert found[0].note == "in epoch 2 as fit reports it"


def test_without_any_accuracy_there_are_no_figures():
    assert diagnose(History(train_loss=(1.0, 0.5), validation_loss=(1.0, 0.7))).figures == ()
    assert diagnose(History(), None, Evaluation({})).figures == ()
