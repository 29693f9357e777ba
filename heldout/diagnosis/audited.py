"""What the audit of a dataset saw, in the words of a diagnosis."""

from collections.abc import Mapping, Sequence

from heldout.diagnosis import remedies
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.remedies import Spec
from heldout.stored.audit import AuditFinding

# What spoils the comparison of splits. The others of the audit's codes are of no account for a training's figures.
MEANING: Mapping[str, str] = {
    "leakage": "leakage",
    "group_across_splits": "leakage",
    "label_conflicts": "label_conflicts",
    "class_imbalance": "class_imbalance",
    "class_shift": "split_shift",
    "scale_mismatch": "scale_mismatch",
    "inverted_values": "scale_mismatch",
    "channel_order_mismatch": "split_shift",
    "orientation_mismatch": "split_shift",
    "label_order_mismatch": "label_order_mismatch",
    "split_shift": "split_shift",
    "test_too_small": "test_too_small",
}


MISSING, IMBALANCE = "class_missing", "class_imbalance"
RARE = 0.1  # images of a class, for each of the largest class, below which it is neglected


def of_audit(audit: Sequence[AuditFinding], spec: Spec | None = None) -> list[Finding]:
    """What explains a training's figures among the findings of its dataset's audit."""
    return [
        Finding(
            code,
            _severity(one, spec),
            one.explanation,
            {"audit": one.code, **one.numbers},
            (
                *(remedies.balanced_weights(spec) if one.code == IMBALANCE else ()),
                remedies.mend_data(one.what_to_do),
            ),
        )
        for one in audit
        if (code := _meaning(one)) is not None
    ]


def _meaning(found: AuditFinding) -> str | None:
    """A class without training images is the extreme of a rare one; without test images it is not measured."""
    if found.code == MISSING:
        return "class_imbalance" if "train" in found.numbers else "test_too_small"
    return MEANING.get(found.code)


def _severity(found: AuditFinding, spec: Spec | None) -> Severity:
    """What spoils a dataset need not explain a training: a class that is weighed, or is not very rare."""
    numbers = found.numbers
    if found.code == IMBALANCE and (
        remedies.weighs_classes(spec) or numbers["smallest"]["count"] >= RARE * numbers["largest"]["count"]
    ):
        return "info"
    if found.code == MISSING and not {"train", "test"} & set(numbers):
        return "info"
    return found.severity
