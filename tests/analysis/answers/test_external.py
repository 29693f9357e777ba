"""Counts of predictions from other programs, compared with scikit-learn and statsmodels."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from analysis.answers import external
from analysis.answers.external import build_evaluation, diagnose_answers
from analysis.answers.received import GivenSplit, receive_answers
from tests.analysis.answers.made import CLASSES, predicted

SPLITS = {"train": predicted(0.99, 3000, 0), "validation": predicted(0.9, 800, 1), "test": predicted(0.8, 1000, 2)}


def given(splits=SPLITS, **beside) -> dict[str, GivenSplit]:
    """beside: what else each split has, such as hashes."""
    return {
        name: GivenSplit(labels, probabilities, **beside.get(name, {}))
        for name, (labels, probabilities) in splits.items()
    }


def losses_of(split: str) -> np.ndarray:
    labels, probabilities = SPLITS[split]
    return -np.log(probabilities.astype(np.float64)[np.arange(len(labels)), labels])


def test_counts_confusions_and_losses_equal_those_of_scikit_learn():
    evaluation = build_evaluation(receive_answers(given()))
    for name, (labels, probabilities) in SPLITS.items():
        figures, answers = evaluation.get(name), probabilities.argmax(axis=1)
        assert figures.accuracy == accuracy_score(labels, answers)
        assert np.array_equal(figures.confusion, confusion_matrix(labels, answers, labels=range(CLASSES)))
        exact = probabilities.astype(np.float64)
        assert figures.loss == pytest.approx(log_loss(labels, exact / exact.sum(axis=1, keepdims=True)))


def test_intervals_of_the_gap_equal_those_of_statsmodels_for_a_fifth_of_the_images():
    gap = diagnose_answers(receive_answers(given()), None).gap
    counts = {
        name: ((probs.argmax(axis=1) == labels).sum() / 5, len(labels) / 5) for name, (labels, probs) in SPLITS.items()
    }
    assert [term.code for term in gap.terms] == ["generalisation", "split_difference"]
    for term, (better, worse) in zip(gap.terms, (("train", "validation"), ("validation", "test")), strict=True):
        expected = confint_proportions_2indep(*counts[better], *counts[worse], method="newcomb", compare="diff")
        assert term.accuracy_interval == pytest.approx(expected, abs=1e-9)
        samples = (losses_of(worse), losses_of(better))
        pair = CompareMeans(*(DescrStatsW(losses, np.full(len(losses), 1 / 5)) for losses in samples))
        # Weights change the divisor of the variance, and the bounds by less than a hundredth.
        assert term.loss_interval == pytest.approx(pair.tconfint_diff(usevar="unequal"), rel=0.01)
    assert sum(term.accuracy for term in gap.terms) == pytest.approx(gap.accuracy)
    assert sum(term.loss for term in gap.terms) == pytest.approx(gap.loss)


def test_calibration_is_measured_on_validation_or_else_on_test():
    """The reference bins by the same edges, and weighs each bin by its images."""
    for splits, name in ((SPLITS, "validation"), ({"test": SPLITS["test"]}, "test")):
        found = diagnose_answers(receive_answers(given(splits)), None).calibration
        labels, probabilities = SPLITS[name]
        sure, right = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == labels
        accurate, confident = calibration_curve(right, sure, n_bins=15)
        weights = np.histogram(sure, bins=15, range=(0, 1))[0]
        expected = np.abs(accurate - confident) @ weights[weights > 0] / len(labels)
        assert found.split == name
        assert found.error_before == pytest.approx(expected, abs=1e-6)
        assert found.temperature > 1
        assert found.error_after < found.error_before


def test_answers_without_probabilities_give_accuracy_terms_but_no_loss_terms():
    whole = diagnose_answers(receive_answers(given()), None)
    answers = {name: GivenSplit(labels, answers=probs.argmax(axis=1)) for name, (labels, probs) in SPLITS.items()}
    alone = diagnose_answers(receive_answers(answers), None)
    for term, other in zip(alone.gap.terms, whole.gap.terms, strict=True):
        assert (term.code, term.accuracy) == (other.code, other.accuracy)
        assert term.accuracy_interval == other.accuracy_interval
        assert np.isnan(term.loss)
        assert term.loss_interval is None
    assert alone.calibration is None
    assert (alone.verdict, alone.explanation) == (whole.verdict, whole.explanation)


def test_copies_found_by_hash_are_left_out_of_test_and_reported():
    """200 of the test images were in the training set, and the network memorized them."""
    labels, probabilities = SPLITS["test"]
    known, probs = SPLITS["train"]
    test = np.concatenate([labels[:800], known[:200]]), np.concatenate([probabilities[:800], probs[:200]])
    hashes = {
        "train": {"hashes": [f"t{place}" for place in range(3000)]},
        "test": {"hashes": [*(f"e{place}" for place in range(800)), *(f"t{place}" for place in range(200))]},
    }
    found = diagnose_answers(receive_answers(given(SPLITS | {"test": test}, **hashes)), None)
    copies = found.gap.find_term("copies_in_test")
    right = lambda pair: pair[1].argmax(axis=1) == pair[0]  # noqa: E731
    assert copies.accuracy == pytest.approx(right(test)[:800].mean() - right(test).mean())
    assert found.gap.find_term("split_difference").accuracy == pytest.approx(
        right(SPLITS["validation"]).mean() - right(test)[:800].mean()
    )
    leakage = next(finding for finding in found.findings if finding.code == "leakage")
    assert leakage.evidence == {"test": {"images": 200, "share": 0.2}}
    assert "upload" not in leakage.remedies[0].reason


@pytest.mark.parametrize("splits", [("train", "validation", "test"), ("train", "test")])
def test_test_labels_in_another_order_are_detected_with_and_without_validation(splits):
    moved = (SPLITS["test"][0] + 1) % CLASSES, SPLITS["test"][1]
    found = diagnose_answers(receive_answers(given({name: (SPLITS | {"test": moved})[name] for name in splits})), None)
    assert found.verdict == "label_order_mismatch"
    before, after = (
        accuracy_score(labels, SPLITS["test"][1].argmax(axis=1)) for labels in (moved[0], SPLITS["test"][0])
    )
    assert found.gap.find_term("label_order").accuracy == pytest.approx(after - before)
    assert sum(term.accuracy for term in found.gap.terms) == pytest.approx(found.gap.accuracy)
    assert "upload" not in found.findings[0].remedies[0].reason


def test_a_probability_rounded_to_0_has_a_finite_loss_and_is_reported():
    probabilities = np.array([[0.998, 0.002], [1.0, 0.0], [0.0, 1.0]])
    answers = receive_answers({"test": GivenSplit([0, 1, 1], probabilities)})
    expected = -np.log([0.998, 0.001, 1.0]).mean()
    assert build_evaluation(answers).get("test").loss == pytest.approx(expected)
    assert answers.notes == (
        "1 of 3 labels has a probability of 0, which would make the loss infinite. It was replaced by 0.001, half of "
        "the smallest probability in the data.",
    )


def test_each_half_of_test_is_counted_with_the_renaming_chosen_by_the_other_half(monkeypatch):
    swapped = (1, 0, *range(2, CLASSES))
    chosen = iter([swapped, None])
    monkeypatch.setattr(external, "choose_renaming", lambda half, known, usual: next(chosen))
    labels = build_evaluation(receive_answers(given())).gap.labels
    assert labels.renamings == (None, swapped)
    assert labels.halves[0].change.lost == 0
    assert labels.halves[1].change.lost > 0
