"""Split shift: test images are of another kind than the others."""

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.thresholds import COMPARISON_CONFIDENCE, MAX_SELECTION_EFFECT, MIN_CRITICAL_SHIFT
from heldout.diagnosis.words import percent, points_between
from heldout.intervals import newcombe_interval


def in_images(facts: Facts) -> list[Finding]:
    """What the audit found."""
    return list(facts.audited.get("split_shift", ()))


def in_accuracy(facts: Facts) -> list[Finding]:
    """Test is answered clearly worse than validation, and the audit did not say why."""
    validation, test = facts.validation, facts.test
    if validation is None or test is None or "split_shift" in facts.audited:
        return []
    low, high = newcombe_interval(validation.counts, test.counts, COMPARISON_CONFIDENCE)
    if low <= MAX_SELECTION_EFFECT:
        return []
    return [
        Finding(
            "split_shift",
            "critical" if low > MIN_CRITICAL_SHIFT else "warning",
            f"Test accuracy ({percent(test.accuracy)}) is lower than validation accuracy "
            f"({percent(validation.accuracy)}), by {points_between(low, high)}. The network was trained on neither, so "
            "this is not overfitting: the test images are of another kind.",
            {
                "validation_accuracy": validation.accuracy,
                "test_accuracy": test.accuracy,
                "difference": validation.accuracy - test.accuracy,
                "difference_interval": [low, high],
            },
            (
                remedies.mend_data(
                    "Compare how the test images were taken, scaled, cropped and labelled with the others."
                ),
                remedies.mend_data(
                    "Cut all splits from one pool (`splits.existing: merge`). See whether test stays worse."
                ),
            ),
        )
    ]
