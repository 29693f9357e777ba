"""How much of the gap the winner of a study closes, and what remains."""

import pytest

from analysis.studies.figures import compute_gap_closed
from heldout.views.study import ArmView, StudyTestView
from tests.analysis.reports.made_studies import arm, cure


def describe_closed_gap(base: tuple[float, float], winner: tuple[float, float]) -> str:
    """Describe the closed gap, given the training and validation accuracies of base and winner."""
    arms = (ArmView.model_validate(arm("x", held, 0.1, train=(trained, 0.1))) for trained, held in (base, winner))
    found = compute_gap_closed(*arms, None)
    assert (found.to, found.base, found.winner) == (
        "validation",
        pytest.approx(base[0] - base[1]),
        pytest.approx(winner[0] - winner[1]),
    )
    return found.explanation


def test_the_closed_gap_is_split_into_validation_gain_and_training_loss():
    assert describe_closed_gap((1.0, 0.9), (0.98, 0.94)) == (
        "The gap between training and validation is 10.0 points without it and 4.0 with it: 60% is closed, and 4.0 "
        "points remain. Of the 6.0 points closed, 4.0 come from higher validation accuracy and 2.0 from lower training "
        "accuracy."
    )
    assert describe_closed_gap((0.9, 0.8), (0.95, 0.92)).endswith("70% is closed, and 3.0 points remain.")


def test_a_gap_that_does_not_close_or_does_not_exist_is_reported():
    assert describe_closed_gap((0.9, 0.8), (0.97, 0.85)).endswith("10.0 points without it and 12.0 with it: it grows.")
    assert describe_closed_gap((0.9, 0.8), (0.91, 0.81)).endswith(
        "10.0 points without it and 10.0 with it: it does not close."
    )
    assert (
        describe_closed_gap((0.8, 0.82), (0.85, 0.86))
        == "Without it, there is no gap between training and validation to close."
    )
    assert describe_closed_gap((0.9, 0.8), (0.85, 0.86)).endswith(
        "100% is closed, and nothing remains. Of the 11.0 points closed, 6.0 come from higher validation "
        "accuracy and 5.0 from lower training accuracy."
    )


def test_test_figures_are_preferred_and_missing_figures_give_no_report():
    study = cure()
    base, winner = study.arms[:2]
    found = compute_gap_closed(base, winner, study.conclusion.test)
    assert (found.to, found.base, found.winner) == ("test", pytest.approx(0.0322), pytest.approx(0.0184))
    unmeasured = winner.model_copy(update={"train": None})
    assert compute_gap_closed(base, unmeasured, study.conclusion.test) is None
    assert isinstance(study.conclusion.test, StudyTestView)
