"""The demonstration's table and what it says about the gaps, for figures of every kind."""

import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from heldout.demo.report import HEADINGS, Trained, explain_gaps, explain_overfitting, row_of, verdict_of
from tests.heldout.made_views import diagnosis, epoch, final, job, split
from tests.heldout.served import SPEC


def trained(name, train, test, validation=380):
    """Of 3,600 training, 400 validation and 1,000 test images the right ones."""
    ended = job(name=name, parameters=93_962, finished_at="2025-11-24T15:41:24.500Z")
    measured = final(split(train, 3600, 0.002), split(validation, 400, 0.124), split(test, 1000))
    return Trained(ended, measured, measured.test)


def test_a_row_has_what_the_headings_promise():
    row = dict(zip(HEADINGS, row_of(trained("overfit", 3599, 962)), strict=True))
    assert row == {
        "JOB": "overfit",
        "PARAMETERS": "93,962",
        "TRAIN": "0.9997",
        "VALIDATION": "0.9500 [0.924, 0.967]",
        "TEST": "0.9620 [0.948, 0.972]",
        "LOSSES": "0.002/0.124/0.100",
        "GAP, POINTS": "+3.8 [+2.7, +5.1]",
        "SECONDS": "22.5",
    }


def test_the_interval_of_a_gap_is_newcombe_s():
    gap = trained("overfit", 3599, 962)
    expected = confint_proportions_2indep(3599, 3600, 962, 1000, method="newcomb", compare="diff")
    assert gap.gap_interval == pytest.approx(expected, abs=1e-9)
    assert gap.gap == pytest.approx(3599 / 3600 - 0.962)


def test_a_gap_above_chance_is_called_one():
    [_, sentence] = explain_gaps([trained("overfit", 3599, 962)])
    assert "a gap of +3.8 points, interval [+2.7, +5.1]" in sentence
    assert "chance in 1,000 test images does not explain" in sentence


def test_a_gap_that_may_be_chance_is_called_that():
    [_, sentence] = explain_gaps([trained("regularized", 3480, 962)])
    assert "this gap cannot be told from none" in sentence


def test_a_test_result_above_the_training_s_is_said():
    [_, sentence] = explain_gaps([trained("augmented", 3200, 950)])
    assert "better on the unseen images" in sentence


def test_overlapping_tests_are_not_put_in_order():
    last = explain_gaps([trained("overfit", 3599, 957), trained("regularized", 3517, 960)])[-1]
    assert "Best on the test split: regularized, 0.9600" in last
    assert "The interval of overfit overlaps: one run of each is too little to say which is better." in last
    assert "clearly worse" not in last


def test_a_small_gap_with_a_bad_test_result_is_no_cure():
    last = explain_gaps([trained("overfit", 3599, 957), trained("augmented", 2686, 724)])[-1]
    assert "augmented is clearly worse, 0.7240" in last
    assert "Its gap is smaller than that of overfit: a smaller gap alone is no improvement." in last
    assert "overlaps" not in last


def test_the_widest_gap_with_the_worst_test_is_just_worse():
    last = explain_gaps([trained("good", 3500, 965), trained("bad", 3599, 800)])[-1]
    assert "bad is clearly worse" in last
    assert "is no improvement" not in last


def epochs(*figures):
    return [
        epoch(number, validation_loss=loss, validation_accuracy=accuracy)
        for number, (loss, accuracy) in enumerate(figures, 1)
    ]


def test_a_job_that_overfits_a_little_is_said_to_barely_do_so():
    overfitting = diagnosis("overfitting", best_epoch=2)
    job = trained("overfit", 3590, 957)
    little = verdict_of(job, overfitting, epochs((0.3, 0.9), (0.1432, 0.945), (0.1656, 0.94)))
    assert "Since epoch 2 the validation loss went from 0.143 to 0.166, the accuracy from 0.9450 to 0.9400" in little
    assert "on 3,600 images it barely overfits" in little
    much = verdict_of(job, overfitting, epochs((0.3, 0.9), (0.1432, 0.945), (0.5, 0.9)))
    assert much.endswith("to 0.9000.")


def test_a_job_without_fault_is_told_in_one_word():
    healthy = diagnosis("healthy")
    assert (
        verdict_of(trained("regularized", 3590, 957), healthy, epochs((0.3, 0.9))) == "Verdict on regularized: healthy."
    )


def test_any_other_verdict_comes_with_its_reason():
    artefact = diagnosis("metric_artefact", explanation="fit reports less than was measured.")
    assert (
        verdict_of(trained("augmented", 2686, 724), artefact, epochs((0.9, 0.7)))
        == "Verdict on augmented: misleading fit accuracy. fit reports less than was measured."
    )


def test_only_what_can_be_posted_is_called_ready_to_be():
    memorising = job(name="memorising", spec=SPEC | {"training": {"train_limit": 500, "epochs": 60}})
    l2, mend_data = ("l2", {"network": {"l2": 0.001}}), ("mend_data", None)
    both = explain_overfitting(
        diagnosis("not_converged", explanation="It falls.", remedies=[l2, mend_data]), memorising
    )
    assert both[0].endswith("Verdict: ended too early. It falls.")
    assert both[1].endswith("patch of the spec: l2.")
    assert (
        len(explain_overfitting(diagnosis("not_converged", explanation="It falls.", remedies=[mend_data]), memorising))
        == 1
    )
