"""Short forms of `python -m benchmarks.cures score`, which docs/measurements/studies.md publishes."""

from pathlib import Path

import pytest

from benchmarks.cures import replay
from benchmarks.cures.external import answer_nulls
from benchmarks.cures.nulls import null_studies
from benchmarks.cures.record import BLOCK
from benchmarks.cures.score import row_of, scored
from benchmarks.cures.truth import truth_of

PAGE = Path(__file__).parents[2] / "docs" / "measurements" / "studies.md"
CONDITIONS = {condition.key: condition for condition in replay.conditions(sealed=False)}


def test_studies_of_recorded_trainings_give_the_published_row() -> None:
    row = row_of(scored(CONDITIONS["digits-8-double-300"]))
    assert row in PAGE.read_text(encoding="utf-8").splitlines(), f"the page is outdated; now the row is {row}"


def test_studies_of_a_base_against_itself_rarely_name_a_cure() -> None:
    outcomes = [*null_studies(CONDITIONS["digits-8-wide-100"], "other seeds", 30)]
    assert len(outcomes) == 30
    assert sum(outcome.winner is not None for outcome in outcomes) <= 2


@pytest.mark.parametrize(
    "way",
    [
        "ask and tell",
        "ask and tell, by accuracy",
        "recorded answers, by loss",
        "recorded accuracies",
        "recorded losses",
    ],
)
def test_studies_of_external_and_recorded_runs_rarely_name_a_false_cure(way) -> None:
    answers = [*answer_nulls(CONDITIONS["digits-8-wide-100"], "other seeds", way, 30)]
    assert len(answers) == 30
    assert answers.count("cure") <= 2


def test_a_remedy_is_judged_by_images_that_chose_nothing() -> None:
    condition = CONDITIONS["digits-8-double-300"]
    grid, shares = replay.grid(condition), []
    for seed in range(8):
        base, remedy = (grid[arm, seed].referee_correct for arm in ("base", "label_smoothing"))
        judges = [image for image in range(len(base)) if image // BLOCK % 2 == 1]
        shares.append((remedy[judges].sum() - base[judges].sum()) / len(judges))
    assert truth_of(condition).benefit("label_smoothing", "accuracy") == pytest.approx(sum(shares) / 8)
