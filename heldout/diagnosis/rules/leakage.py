"""Leakage: images of one split are also in another, or test results are better than they should be."""

from heldout.diagnosis import remedies
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.thresholds import COMPARISON_CONFIDENCE, MAX_SELECTION_EFFECT, MIN_CRITICAL_LEAK
from heldout.fixes.offers import DROP_COPIES
from heldout.statistics.intervals import compute_newcombe_interval
from heldout.stored.gap import StoredGap
from heldout.words import percent, pluralize


def find(facts: Facts) -> list[Finding]:
    """Report what the audit found, or else the copies that the worker counted.

    If copies are unknown, report a test split that is answered clearly better than validation.
    """
    train, validation, test = facts.train, facts.validation, facts.test
    if "leakage" in facts.audited:
        return list(facts.audited["leakage"])
    if facts.gap is not None and (facts.gap.validation_copies is not None or facts.gap.test_copies is not None):
        return _find_counted(facts.gap)
    if validation is None or test is None:
        return []
    low, high = compute_newcombe_interval(validation.counts, test.counts, COMPARISON_CONFIDENCE)
    if high >= -MAX_SELECTION_EFFECT or not _can_be_copies(train, validation, test):
        return []
    return [
        Finding(
            "leakage",
            "warning",
            f"Test accuracy ({percent(test.accuracy)}) is higher than validation accuracy "
            f"({percent(validation.accuracy)}), by more than chance. Often the reason is that the network was also "
            "trained on test images.",
            {
                "validation_accuracy": validation.accuracy,
                "test_accuracy": test.accuracy,
                "difference": validation.accuracy - test.accuracy,
                "difference_interval": [low, high],
            },
            (
                remedies.suggest_data_fix(
                    "Look for test images in the training set. The audit of an uploaded dataset does this."
                ),
            ),
        )
    ]


def _find_counted(gap: StoredGap) -> list[Finding]:
    copied = {
        name: (copies.copied.count, split.count)
        for name, split, copies in (
            ("validation", gap.validation, gap.validation_copies),
            ("test", gap.test, gap.test_copies),
        )
        if split is not None and copies is not None and copies.copied is not None
    }
    if not copied:
        return []
    seen = " and ".join(
        f"{images:,} of {pluralize(count, f'{name} image')} ({percent(images / count)})"
        for name, (images, count) in copied.items()
    )
    is_critical = any(images >= MIN_CRITICAL_LEAK * count for images, count in copied.values())
    return [
        Finding(
            "leakage",
            "critical" if is_critical else "warning",
            f"{seen} have a copy, or an image of the same group, among the training images. The network has seen "
            "these, so results on them look better than they are.",
            {name: {"images": images, "share": images / count} for name, (images, count) in copied.items()},
            (remedies.suggest_data_fix("Keep copies and groups in one split only.", dict(DROP_COPIES)),),
        )
    ]


def _can_be_copies(train: SplitFigures | None, validation: SplitFigures, test: SplitFigures) -> bool:
    """Whether copies can explain it: they lift test from validation toward training accuracy, but not beyond."""
    if train is None:
        return True
    low, _ = compute_newcombe_interval(train.counts, validation.counts, COMPARISON_CONFIDENCE)
    return low > 0 and test.accuracy <= train.accuracy
