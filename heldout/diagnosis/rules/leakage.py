"""Leakage: images of one split are in another, or test results are better than they should be."""

from heldout.diagnosis import remedies
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.thresholds import COMPARISON_CONFIDENCE, MAX_SELECTION_EFFECT
from heldout.diagnosis.words import percent, points_between
from heldout.intervals import newcombe_interval


def find(facts: Facts) -> list[Finding]:
    """What the audit found, else a test that is answered clearly better than validation."""
    train, validation, test = facts.train, facts.validation, facts.test
    if "leakage" in facts.audited:
        return list(facts.audited["leakage"])
    if validation is None or test is None:
        return []
    low, high = newcombe_interval(validation.counts, test.counts, COMPARISON_CONFIDENCE)
    if high >= -MAX_SELECTION_EFFECT or not _can_be_copies(train, validation, test):
        return []
    return [
        Finding(
            "leakage",
            "warning",
            f"Test accuracy ({percent(test.accuracy)}) is higher than validation accuracy "
            f"({percent(validation.accuracy)}), by {points_between(-high, -low)}. Often the reason is that test images "
            "were also trained on.",
            {
                "validation_accuracy": validation.accuracy,
                "test_accuracy": test.accuracy,
                "difference": validation.accuracy - test.accuracy,
                "difference_interval": [low, high],
            },
            (
                remedies.mend_data(
                    "Look for test images in the training set. The audit of an uploaded dataset does that."
                ),
            ),
        )
    ]


def _can_be_copies(train: SplitFigures | None, validation: SplitFigures, test: SplitFigures) -> bool:
    """Copies of training images are answered as training is: they lift test from validation towards it, no further."""
    if train is None:
        return True
    low, _ = newcombe_interval(train.counts, validation.counts, COMPARISON_CONFIDENCE)
    return low > 0 and test.accuracy <= train.accuracy
