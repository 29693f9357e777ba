"""The gap of an arm, as the mean over its trainings: it adds up, and its intervals contain the truth."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.reports.budgets import build_budget_blocks, compute_mean_budget
from heldout.diagnosis.gap import Gap, compute_gap
from heldout.documents.blocks import Table
from heldout.stored.gap import GapOnTest
from tests.analysis.reports import made_studies as made
from tests.analysis.reports.reading import html, html_tables, report, text_of
from tests.heldout.diagnosis.made_gap import Made, answers


def measured(seed: int, **changes: object) -> Gap:
    """Measure the gap of one training, with the figures of test added later."""
    whole = Made(
        answers(0.99, 900, seed), answers(0.8 + 0.01 * seed, 300, seed + 10), answers(0.82, 400, seed + 20),
        test_copied=np.arange(400) < 40 * seed,
    )  # fmt: skip
    stored = replace(whole, **changes).stored()
    on_test = GapOnTest(**{name: getattr(stored, name) for name in GapOnTest.model_fields})
    found = compute_gap(stored.drop_test().add_test(on_test))
    assert compute_gap(stored.drop_test()) is None
    assert found == compute_gap(stored)
    return found


def test_mean_terms_add_up_to_the_mean_gap_even_if_a_training_lacks_a_term():
    gaps = [measured(1), measured(2), measured(3, best_by_accuracy=(4, answers(0.95, 300, 5)))]
    budget = compute_mean_budget("dropout", gaps)
    assert (budget.job, budget.trainings) == (None, 3)
    for measure in ("accuracy", "loss"):
        whole = getattr(budget.whole, measure)
        assert whole == pytest.approx(np.mean([getattr(gap, measure) for gap in gaps]))
        assert sum(getattr(term, measure) for term in budget.gap.terms) == pytest.approx(whole)
    late = next(term for term in budget.gap.terms if term.code == "late_epochs")
    assert late.accuracy == pytest.approx(gaps[2].find_term("late_epochs").accuracy / 3)


def test_differing_trainings_widen_an_interval_and_identical_ones_do_not():
    single = measured(1)
    alike, apart = compute_mean_budget("base", [single, single]), compute_mean_budget("base", [single, measured(9)])
    for code in ("generalisation", "split_difference"):
        [same] = [term.accuracy_interval for term in alike.gap.terms if term.code == code]
        assert same == pytest.approx(single.find_term(code).accuracy_interval)
        [wider] = [term.accuracy_interval for term in apart.gap.terms if term.code == code]
        assert wider[1] - wider[0] > 1.5 * (same[1] - same[0])


def test_the_columns_of_base_and_winner_add_up():
    gaps = [
        compute_mean_budget("base", [measured(1), measured(2)]),
        compute_mean_budget("dropout", [measured(5), measured(6)]),
    ]
    shown = [table for table in build_budget_blocks(report(made.cure(), gaps)) if isinstance(table, Table)]
    assert [table.caption for table in shown] == ["In points of accuracy", "In loss"]
    for table, room in zip(shown, (0.1, 0.001), strict=True):
        for column in (1, 3):
            first, *parts, whole, last = [row[column].replace("−", "-").rstrip(" %") for row in table.rows]
            assert sum(map(float, filter(lambda part: part != "–", parts))) == pytest.approx(
                float(whole), abs=room * len(parts)
            )
            gap = float(last) - float(first)
            assert float(whole) == pytest.approx(gap, abs=2 * room), "signs as in a diagnosis: accuracy falls"


def test_a_gap_that_cannot_be_read_is_reported_as_missing():
    found = report(made.cure()).model_copy(update={"gaps_missing": "The blob store does not answer."})
    text = " ".join(getattr(block, "text", "") for block in build_budget_blocks(found))
    assert "This part is missing" in text
    assert "The blob store does not answer." in text


def test_the_page_shows_the_budget_of_both():
    gaps = [
        compute_mean_budget(arm, [measured(seed), measured(seed + 1)]) for arm, seed in (("base", 1), ("dropout", 5))
    ]
    page = html(made.cure(), gaps)
    assert 'Measured for the base (mean of 2 trainings) and the network with "dropout" (mean of 2' in text_of(page)
    assert [caption for caption, _ in html_tables(page)].count("In points of accuracy") == 1
