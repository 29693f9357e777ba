"""Histories with too few figures to be called healthy: the explanation says what is missing."""

from math import exp, log, nan

import pytest

from analysis.answers.external import find_epoch
from heldout.diagnosis import Evaluation, History
from heldout.diagnosis.evaluation import SplitFigures
from heldout.histories.reading import read_text
from heldout.histories.recorded import ReadHistory
from heldout.histories.verdict import diagnose_read
from tests.heldout.diagnosis.made import figures

EPOCHS = 12
DOWN = [exp(-epoch) for epoch in range(EPOCHS)]
LOSSES = {"loss": [0.66 + 0.05 * loss for loss in DOWN], "val_loss": [0.68 + 0.05 * loss for loss in DOWN]}
TWO = Evaluation({}, ("0", "1"))


def rise_to(level: float) -> list[float]:
    return [level - 0.2 * loss for loss in DOWN]


def judged(evaluation: Evaluation | None = None, **curves: list[float]):
    lines = [",".join(curves), *(",".join(map(str, row)) for row in zip(*curves.values(), strict=True))]
    return diagnose_read(read_text("\n".join(lines)), evaluation)


@pytest.mark.parametrize("name", ["accuracy", "val_accuracy"])
def test_a_single_accuracy_of_55_percent_is_not_healthy_and_the_other_is_requested(name):
    found = judged(**LOSSES, **{name: rise_to(0.55)})
    assert found.verdict == "cannot_tell"
    assert "answers 55.0% of the" in found.explanation
    assert "accuracy was not recorded" in found.explanation
    assert "say how many classes there are" in found.explanation


def test_a_single_high_accuracy_is_enough():
    low = {name: [0.1 + 0.5 * loss for loss in DOWN] for name in ("loss", "val_loss")}
    assert judged(**low, val_accuracy=rise_to(0.97)).verdict == "healthy"


def test_a_loss_is_compared_with_guessing_if_the_number_of_classes_is_known():
    found = judged(TWO, **LOSSES)
    assert found.verdict == "cannot_tell"
    assert f"and guessing among 2 classes costs {log(2):.4g}" in found.explanation
    assert judged(Evaluation({}, tuple("abcdefghij")), **LOSSES).verdict == "healthy"
    assert judged(**LOSSES).verdict == "healthy"  # the number of classes is unknown


@pytest.mark.parametrize("empty", [("loss", "val_loss"), ("val_loss",)])
def test_a_curve_of_nan_is_not_healthy_and_is_named(empty):
    accuracies = {"accuracy": rise_to(0.97), "val_accuracy": rise_to(0.96)}
    assert judged(**accuracies).verdict == "healthy"
    found = judged(**accuracies, **(LOSSES | dict.fromkeys(empty, [nan] * EPOCHS)))
    assert (found.verdict, found.confidence) == ("cannot_tell", None)
    assert "Only NaN was recorded for" in found.explanation
    assert all(f"'{name}'" in found.explanation for name in empty)
    assert "record finite losses of training and validation" in found.explanation


HISTORY = History(validation_loss=(0.9, 0.5, 0.4, 0.4, 0.6), validation_accuracy=(0.6, 0.7, 0.8, 0.81, 0.8))


@pytest.mark.parametrize(
    ("accuracy", "loss", "epoch"),
    [(0.8, 0.4, 3), (0.8, 0.6, 5), (0.81, None, 4), (0.8, None, None), (0.8, 0.5, None), (0.75, 0.45, None)],
)
def test_answers_belong_to_the_only_epoch_with_the_same_validation_figures(accuracy, loss, epoch):
    assert find_epoch(HISTORY, SplitFigures(accuracy, 1000, loss)) == epoch


def test_without_an_accuracy_the_epoch_of_the_answers_is_unknown():
    assert find_epoch(History(validation_loss=(0.4,)), figures(0.8, 1000)) is None
    assert find_epoch(HISTORY, None) is None


def test_our_own_metrics_keep_the_numbers_of_their_epochs():
    epochs = [
        {"epoch": 5 * (place + 1), "train_loss": loss, "validation_loss": loss} for place, loss in enumerate(DOWN)
    ]
    read = read_text(str({"object": "metrics", "epochs": epochs}).replace("'", '"'))
    assert isinstance(read, ReadHistory)
    assert read.history.numbers == tuple(range(5, 65, 5))
