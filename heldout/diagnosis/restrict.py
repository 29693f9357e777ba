"""Removes the test split from the inputs of a diagnosis, so that automatic choices cannot learn from it."""

from collections.abc import Callable, Mapping, Sequence
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
    if code == "class_imbalance":  # of training images alone
        return found
    name, rewrite = _REWRITTEN.get(code, ("", None))
    about = numbers.get(name)
    if rewrite is None or not about or about.get("images") == 0:
        return None
    # Written again, because the audit's own words and severity may come from test.
    severity, explanation, what_to_do = rewrite(about)
    return AuditFinding(
        code=code, severity=severity, numbers={name: about}, explanation=explanation, what_to_do=what_to_do
    )


Rewritten = tuple[Severity, str, str]


def _describe_copies(copied: Mapping[str, Any]) -> Rewritten:
    share = copied["share"]
    return (
        "critical" if share >= MIN_CRITICAL_LEAK else "warning",
        f"The training set also contains {pluralize(copied['images'], 'validation image')} ({percent(share)} of them), "
        "so validation results look better than they are.",
        "Keep the copies in one split only. Or upload again and merge the splits, which keeps copies together.",
    )


def _describe_class_shift(shift: Mapping[str, Any]) -> Rewritten:
    return (
        "warning",
        f"Class {shift['class']!r} makes up {percent(shift['train_share'])} of the training images, but "
        f"{percent(shift['share'])} of the validation images.",
        "Compare the accuracy of each class, or upload again and merge the splits.",
    )


def _describe_missing_classes(missing: Mapping[str, Any]) -> Rewritten:
    return (
        "critical",
        f"Some classes have no training images ({', '.join(map(repr, missing['classes']))}), so the network cannot "
        "learn them.",
        "Add training images of these classes.",
    )


# What concerns training and validation in findings about all splits, and its severity, explanation and advice.
_REWRITTEN: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Rewritten]]] = {
    "leakage": ("validation_in_train", _describe_copies),
    "class_shift": ("validation", _describe_class_shift),
    "class_missing": ("train", _describe_missing_classes),
}
