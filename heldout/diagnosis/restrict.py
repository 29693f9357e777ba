"""Removes the test split from the inputs of a diagnosis, so that automatic choices cannot learn from it."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from heldout.diagnosis.evaluation import Evaluation
from heldout.diagnosis.thresholds import MIN_CRITICAL_LEAK
from heldout.stored.audit import AuditFinding, Severity
from heldout.words import percent, pluralize

ALL_SPLITS = frozenset({"train", "validation", "test"})
WITHOUT_TEST = ALL_SPLITS - {"test"}

# Audit findings about exactly one split, which their numbers name.
_OF_ONE_SPLIT = {
    "scale_mismatch",
    "inverted_values",
    "channel_order_mismatch",
    "orientation_mismatch",
    "label_order_mismatch",
    "split_shift",
}


def check_splits(splits: AbstractSet[str]) -> None:
    """Check the splits. Only test can be left out: without training or validation there is nothing to compare.

    Raises:
        ValueError: if `splits` is neither all of them nor all but test.
    """
    if not WITHOUT_TEST <= splits <= ALL_SPLITS:
        raise ValueError(
            f"Received the splits {sorted(splits)}; expected train, validation and test, or train and validation."
        )


def remove_test(evaluation: Evaluation) -> Evaluation:
    """Remove test's figures, and the comparison with the last epoch if it was made on test images."""
    last, gap, calibration = evaluation.last, evaluation.gap, evaluation.calibration
    return replace(
        evaluation,
        splits={name: figures for name, figures in evaluation.splits.items() if name != "test"},
        last=None if last is not None and last.split == "test" else last,
        gap=None if gap is None else gap.drop_test(),
        calibration=None if calibration is not None and calibration.split == "test" else calibration,
    )


def audit_without_test(audit: Sequence[AuditFinding]) -> list[AuditFinding]:
    """Keep only the findings that hold for training and validation alone, without test's numbers.

    Findings that count the images of all splits together (label conflicts, groups across splits) are removed, since
    test's part of them cannot be separated.
    """
    kept = [_restrict_to_validation(found) for found in audit]
    return [found for found in kept if found is not None]


def audit_of_folds(audit: Sequence[AuditFinding]) -> list[AuditFinding]:
    """Keep the findings that hold for a job with folds; those that compare the dataset's own splits do not."""
    kept = [_restrict_to_folds(found) for found in audit]
    return [found for found in kept if found is not None]


def _restrict_to_folds(found: AuditFinding) -> AuditFinding | None:
    code, numbers = found.code, found.numbers
    if code in _OF_ONE_SPLIT:
        return found if numbers.get("split") != "validation" else None
    if code in {"leakage", "group_across_splits", "class_shift", "class_imbalance"}:
        return None  # copies and classes of the job's own splits are counted when it ends
    if code == "class_missing" and not numbers.get("test"):
        return None
    return found


def _restrict_to_validation(found: AuditFinding) -> AuditFinding | None:
    code, numbers = found.code, found.numbers
    if code in _OF_ONE_SPLIT:
        return found if numbers.get("split") == "validation" else None
    match code:
        case "class_imbalance":  # of training images alone
            return found
        case "leakage":
            return _restrict_leakage(found, numbers.get("validation_in_train"))
        case "class_shift":
            return _restrict_class_shift(found, numbers.get("validation"))
        case "class_missing":
            return _restrict_class_missing(found, numbers.get("train"))
    return None


def _restrict_leakage(found: AuditFinding, copied: Mapping[str, Any] | None) -> AuditFinding | None:
    if not copied or not copied["images"]:
        return None
    share = copied["share"]
    return _rewrite(
        found,
        "critical" if share >= MIN_CRITICAL_LEAK else "warning",
        {"validation_in_train": copied},
        f"The training set also contains {pluralize(copied['images'], 'validation image')} ({percent(share)} of them), "
        "so validation results look better than they are.",
        "Keep the copies in one split only. Or split all images again (`splits: {existing: merge}`, `--merge`), which "
        "keeps copies together.",
    )


def _restrict_class_shift(found: AuditFinding, shift: Mapping[str, Any] | None) -> AuditFinding | None:
    if not shift:
        return None
    return _rewrite(
        found,
        "warning",
        {"validation": shift},
        f"Class {shift['class']!r} makes up {percent(shift['train_share'])} of the training images, but "
        f"{percent(shift['share'])} of the validation images.",
        "Compare the accuracy of each class, or split all images again with `splits: {existing: merge}`.",
    )


def _restrict_class_missing(found: AuditFinding, missing: Mapping[str, Any] | None) -> AuditFinding | None:
    if not missing:
        return None
    names = ", ".join(map(repr, missing["classes"]))
    return _rewrite(
        found,
        "critical",
        {"train": missing},
        f"Some classes have no training images ({names}), so the network cannot learn them.",
        "Add training images of these classes.",
    )


def _rewrite(
    found: AuditFinding, severity: Severity, numbers: Mapping[str, Any], explanation: str, what_to_do: str
) -> AuditFinding:
    """Rebuild the finding without test, because the audit's own words and severity may come from test."""
    return AuditFinding(
        code=found.code, severity=severity, numbers=dict(numbers), explanation=explanation, what_to_do=what_to_do
    )
