"""The best renaming of classes, compared with SciPy's assignment, and how rarely SciPy is needed."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from heldout.diagnosis.renaming import find_best_renaming


def total(confusion, named) -> int:
    return sum(row[answer] for row, answer in zip(confusion, named, strict=True))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_renaming_is_as_good_as_scipys_and_none_if_no_renaming_is_good_enough(classes):
    random = np.random.default_rng(classes)
    for _ in range(300):
        shown = random.integers(0, 20, (classes, classes)) + random.integers(0, 60) * np.eye(classes, dtype=int)
        confusion = random.permuted(shown, axis=0).tolist()
        best = total(confusion, linear_sum_assignment(confusion, maximize=True)[1])
        named = find_best_renaming(confusion, more_than=best - 1)
        assert sorted(named) == list(range(classes))
        assert total(confusion, named) == best
        assert find_best_renaming(confusion, more_than=best) is None


def test_a_simple_renaming_and_a_clear_failure_do_not_import_scipy():
    """A worker's own process diagnoses each job at its end."""
    program = """
import sys
import worker.supervision.training_attempt
from heldout.diagnosis import Evaluation, History, diagnose
from heldout.diagnosis.evaluation import SplitFigures
curve = tuple(1 / epoch for epoch in range(1, 20))
right = SplitFigures(0.9, 100, 0.3, ((45, 5), (5, 45)))
for test, verdict in (
    (SplitFigures(0.1, 100, 3.0, ((5, 45), (45, 5))), "label_order_mismatch"),
    (SplitFigures(0.5, 100, 3.0, ((45, 5), (45, 5))), "split_shift"),
):
    evaluation = Evaluation({"train": right, "validation": right, "test": test}, ("cat", "dog"))
    found = diagnose(History(train_loss=curve, validation_loss=curve), None, evaluation)
    assert verdict in {finding.code for finding in found.findings}, found
heavy = {"scipy", "sklearn", "tensorflow", "keras", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=240)
