"""The diagnosis for automatic choices uses nothing from the test split and everything from the others."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.diagnosis import WITHOUT_TEST, Evaluation, History, diagnose
from heldout.diagnosis.evaluation import SplitFigures
from heldout.stored.audit import AuditFinding
from heldout.stored.evaluation import LastEpochScores
from tests.heldout.diagnosis.made import FINE, OVERFIT, compare_last, figures, history, spec
from tests.heldout.diagnosis.made_gap import Made, answers

CLASSES = ("a", "b", "c")
SHARES = st.floats(0, 1)
COUNTS = st.integers(0, 5000)
MATRICES = st.lists(st.tuples(COUNTS, COUNTS, COUNTS), min_size=3, max_size=3).map(tuple)
OF_ONE_SPLIT = ("scale_mismatch", "inverted_values", "label_order_mismatch", "split_shift", "orientation_mismatch")
TRAIN = figures(0.95, 310, ((195, 5, 0), (0, 95, 5), (0, 3, 7)))
VALIDATION = figures(0.8, 300, ((95, 5, 0), (5, 90, 5), (30, 45, 25)))


def audit_finding(code: str, severity: str, words: str, **numbers: Any) -> AuditFinding:
    return AuditFinding(code=code, severity=severity, numbers=numbers, explanation=words, what_to_do=words)


def copies(images: int, share: float) -> dict[str, Any]:
    return {"images": images, "exact": images, "near": 0, "share": share}


@st.composite
def splits_of_test(draw) -> SplitFigures:
    return SplitFigures(draw(SHARES), draw(COUNTS), draw(st.floats(0, 9)), draw(st.one_of(st.just(()), MATRICES)))


@st.composite
def audits(draw) -> list[AuditFinding]:
    """Draw an audit with arbitrary findings about test, and fixed findings about the other splits."""
    severity, words = draw(st.sampled_from(["info", "warning", "critical"])), draw(st.text(max_size=9))
    shift = {"distance": draw(SHARES), "p_value": 0.001, "class": "b", "train_share": 0.3, "share": draw(SHARES)}
    about_test = [
        *(audit_finding(code, severity, words, split="test", effect=draw(SHARES)) for code in OF_ONE_SPLIT),
        audit_finding("test_too_small", severity, words, count=draw(COUNTS)),
        audit_finding("label_conflicts", severity, words, **copies(draw(COUNTS), draw(SHARES))),
        audit_finding("group_across_splits", severity, words, crossing=2, test_images=draw(COUNTS)),
    ]
    of_both = [
        audit_finding(
            "leakage",
            severity,
            words,
            test_in_train=copies(draw(COUNTS), draw(SHARES)),
            validation_in_train=copies(2, 0.005),
            test_in_validation=copies(draw(COUNTS), draw(SHARES)),
        ),
        audit_finding("class_shift", "warning", words, validation=shift | {"distance": 0.2, "share": 0.1}, test=shift),
        audit_finding(
            "class_missing",
            "critical",
            words,
            train={"count": 1, "classes": ["c"]},
            test={"count": 1, "classes": [draw(st.sampled_from(CLASSES))]},
        ),
    ]
    chosen = draw(st.lists(st.sampled_from(about_test), unique_by=lambda finding: finding.code))
    return draw(st.permutations([*chosen, *of_both]))


@st.composite
def last_epochs(draw) -> LastEpochScores:
    loss = draw(st.floats(-1, 1))
    return compare_last(40, 11, "test", draw(st.integers(1, 999)), 0.1, (0.0, 0.2), 0.1, loss, (loss - 0.1, loss + 0.1))


HIDDEN_RISE = history(
    list(FINE.train_loss), [*FINE.validation_loss[:11], *[loss + 0.02 for loss in FINE.validation_loss[11:]]]
)


@settings(max_examples=40)
@given(
    training=st.sampled_from([OVERFIT, FINE, HIDDEN_RISE]),
    first_test=splits_of_test(),
    second_test=splits_of_test(),
    audit=audits(),
    other_audit=audits(),
    last=st.one_of(st.none(), last_epochs()),
)
def test_nothing_about_test_affects_the_diagnosis(training, first_test, second_test, audit, other_audit, last):
    def judged(test: SplitFigures, audit: list[AuditFinding], last: LastEpochScores | None) -> dict[str, Any]:
        evaluation = Evaluation({"train": TRAIN, "validation": VALIDATION, "test": test}, CLASSES, last)
        return asdict(diagnose(training, audit, evaluation, spec(), splits=WITHOUT_TEST))

    assert judged(first_test, audit, last) == judged(second_test, other_audit, None)
    assert judged(first_test, audit, last) == asdict(
        diagnose(
            training,
            other_audit,
            Evaluation({"train": TRAIN, "validation": VALIDATION}, CLASSES),
            spec(),
            splits=WITHOUT_TEST,
        )
    )


def codes_of(
    training: History, audit: list[AuditFinding] | None, evaluation: Evaluation, **options: Any
) -> dict[str, str]:
    return {finding.code: finding.severity for finding in diagnose(training, audit, evaluation, **options).findings}


def test_findings_about_test_are_reported_unless_test_is_left_out():
    evaluation = Evaluation({"train": TRAIN, "validation": VALIDATION, "test": figures(0.6, 300)}, CLASSES)
    leaked = [audit_finding("leakage", "critical", "", test_in_train=copies(90, 0.3))]
    assert {"split_shift", "test_too_small", "leakage"} <= codes_of(FINE, leaked, evaluation).keys()
    without = codes_of(FINE, leaked, evaluation, splits=WITHOUT_TEST).keys()
    assert not {"split_shift", "test_too_small", "leakage"} & without


def test_faults_of_training_and_validation_are_still_reported():
    evaluation = Evaluation({"train": TRAIN, "validation": VALIDATION, "test": figures(0.2, 300)}, CLASSES)
    audit = [
        audit_finding("leakage", "warning", "", test_in_train=copies(0, 0), validation_in_train=copies(45, 0.15)),
        audit_finding("scale_mismatch", "critical", "scale", split="validation"),
    ]
    found = codes_of(OVERFIT, audit, evaluation, splits=WITHOUT_TEST)
    assert {"leakage", "scale_mismatch", "class_imbalance", "overfitting"} <= found.keys()
    [leak] = [
        finding
        for finding in diagnose(FINE, audit, evaluation, splits=WITHOUT_TEST).findings
        if finding.code == "leakage"
    ]
    assert leak.severity == "critical"
    assert leak.explanation.startswith("The training set also contains 45 validation images (15.0% of them)")
    assert leak.evidence == {"audit": "leakage", "validation_in_train": copies(45, 0.15)}


def test_a_comparison_with_the_last_epoch_counts_only_if_made_on_validation():
    for split, is_used in (("validation", True), ("test", False)):
        last = compare_last(40, 20, split, 300, 0.1, (0.05, 0.15), 0.001, 0.5, (0.4, 0.6))
        evaluation = Evaluation({"train": TRAIN, "validation": VALIDATION}, CLASSES, last)
        found = diagnose(OVERFIT, None, evaluation, splits=WITHOUT_TEST).findings
        assert any("last_epoch" in finding.evidence for finding in found) == is_used


@pytest.mark.parametrize("splits", [{"train", "test"}, {"validation"}, set(), {"train", "validation", "referee"}])
def test_only_test_can_be_left_out(splits):
    with pytest.raises(ValueError, match="expected train, validation and test, or train and validation"):
        diagnose(FINE, splits=splits)


def test_without_test_no_gap_or_figure_of_test_is_reported():
    """The counts of test are numbers that appear nowhere else."""
    made = Made(
        answers(0.99, 3000),
        answers(0.8, 400, 1),
        answers(0.4321, 7777, 2),
        test_copied=np.arange(7777) < 1234,
        validation_copied=np.arange(400) < 45,
        pixels=answers(0.5, 6543, 3),
        labels=answers(0.7, 6543, 4),
    )
    whole = diagnose(OVERFIT, None, made.evaluation(), spec())
    assert {"split_shift", "label_order_mismatch", "leakage"} <= {finding.code for finding in whole.findings}
    found = diagnose(OVERFIT, None, made.evaluation(), spec(), splits=WITHOUT_TEST)
    assert found.gap is None
    assert all(finding.explains is None for finding in found.findings)
    assert {"overfitting", "leakage"} <= {finding.code for finding in found.findings}
    for figure in ("7777", "7,777", "1,234"):
        assert figure in repr(whole)
        assert figure not in repr(found)
    other = replace(made, test=answers(0.9, 500, 5), test_copied=None, pixels=None, labels=None)
    assert diagnose(OVERFIT, None, other.evaluation(), spec(), splits=WITHOUT_TEST) == found
