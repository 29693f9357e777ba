"""Wrong labels that a search has counted: when they are reported, and what they cost."""

import pytest

from heldout.diagnosis import WITHOUT_TEST, Evaluation, Finding, diagnose
from heldout.stored.audit import AuditFinding, SplitLabels
from tests.heldout.diagnosis.made import FINE, figures

CLASSES = tuple(f"class {number}" for number in range(10))


def find_noise(train: float, test: float, *, low: float = 0.8, images: int = 1000, **options) -> list[Finding]:
    """Find label noise in a training that answers 80% of all images correctly."""
    labels = {
        split: SplitLabels(
            images=images,
            count=round(share * images),
            low=round(low * share * images),
            high=round(1.2 * share * images),
        )
        for split, share in (("train", train), ("test", test))
    }
    accuracy = options.pop("accuracy", 0.8)
    evaluation = Evaluation({split: figures(accuracy, images) for split in ("train", "validation", "test")}, CLASSES)
    found = diagnose(FINE, options.pop("audit", None), evaluation, labels=labels, **options)
    return [finding for finding in found.findings if finding.code == "label_noise"]


@pytest.mark.parametrize(("train", "test"), [(0.2, 0.2), (0.2, 0.0), (0.0, 0.2)])
def test_wrong_labels_in_any_split_are_reported(train, test):
    [found] = find_noise(train, test)
    assert set(found.evidence["wrong_labels"]) == {
        split for split, share in (("train", train), ("test", test)) if share
    }


def test_the_summary_says_how_many_labels_are_wrong_in_each_split():
    labels = {split: SplitLabels(images=1000, count=200, low=160, high=240) for split in ("train", "test")}
    evaluation = Evaluation({split: figures(0.8, 1000) for split in ("train", "validation", "test")}, CLASSES)
    found = diagnose(FINE, None, evaluation, labels=labels)
    assert found.verdict == "label_noise"
    assert "About 20 of 100 training labels and 20 of 100 test labels are wrong." in found.summary


def test_few_or_uncertain_wrong_labels_are_not_reported():
    assert find_noise(0.02, 0.03) == []
    assert find_noise(0.2, 0.2, low=0.1) == []


def test_wrong_test_labels_cost_the_accuracy_of_as_many_images():
    """If 200 of 1,000 labels are wrong, even a perfect network gets only 800 right."""
    [found] = find_noise(0.0, 0.2)
    right_labels = 0.8 / (1 - 0.2)
    assert found.evidence["points"] == pytest.approx(right_labels - 0.8)
    low, high = found.evidence["points_interval"]
    assert low < found.evidence["points"] <= high <= 0.2  # at most what is missing to 100%
    assert "about 20.0% too low" in found.explanation


def test_wrong_test_labels_are_ignored_if_test_is_left_out():
    [found] = find_noise(0.2, 0.2, splits=WITHOUT_TEST)
    assert set(found.evidence["wrong_labels"]) == {"train"}
    assert "points" not in found.evidence
    assert find_noise(0.0, 0.2, splits=WITHOUT_TEST) == []


def test_a_training_accuracy_explained_by_wrong_labels_is_not_underfitting():
    def codes(train: float) -> set[str]:
        labels = {"train": SplitLabels(images=2000, count=int(2000 * train), low=int(1900 * train), high=2000)}
        guessing = Evaluation({split: figures(0.55, 2000) for split in ("train", "validation")}, CLASSES)
        found = diagnose(FINE, None, guessing, labels=labels)
        return {finding.code for finding in found.findings if finding.severity != "info"}

    assert codes(0.4) >= {"label_noise"}
    assert "underfitting" not in codes(0.4)
    assert codes(0.05) >= {"label_noise", "underfitting"}


def test_wrong_labels_are_not_counted_if_the_audit_found_another_class_order():
    order = AuditFinding(
        code="label_order_mismatch",
        severity="critical",
        numbers={"split": "test"},
        explanation="Test classes are in another order.",
        what_to_do="Rename them.",
    )
    assert find_noise(0.2, 0.2) != []
    assert find_noise(0.2, 0.2, audit=[order]) == []
