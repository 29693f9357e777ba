"""What the audit of a dataset found, as findings of a diagnosis."""

from collections.abc import Mapping, Sequence

from heldout.diagnosis import remedies
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.thresholds import MIN_CLASS_BALANCE
from heldout.mending.bodies import Body
from heldout.mending.offers import offers_of
from heldout.remedies.change import Spec
from heldout.stored.audit import AuditFinding

# The audit's code and the diagnosis' code. What else an audit finds does not spoil the comparison of splits.
CODE_OF_AUDIT: Mapping[str, str] = {
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


def findings_by_code(audit: Sequence[AuditFinding], spec: Spec | None = None) -> dict[str, list[Finding]]:
    """What explains a training's figures among the findings of its dataset's audit."""
    found: dict[str, list[Finding]] = {}
    for one, mend in zip(audit, offers_of(audit), strict=True):
        code = _code_of(one)
        if code is not None:
            found.setdefault(code, []).append(_finding(code, one, spec, mend))
    return found


def _code_of(found: AuditFinding) -> str | None:
    """A class without training images is the extreme of a rare one; without test images it is not measured."""
    if found.code == "class_missing":
        return "class_imbalance" if "train" in found.numbers else "test_too_small"
    return CODE_OF_AUDIT.get(found.code)


def _finding(code: str, found: AuditFinding, spec: Spec | None, mend: Body | None) -> Finding:
    weights = remedies.balanced_weights(spec) if found.code == "class_imbalance" else ()
    return Finding(
        code,
        _severity(found, spec),
        found.explanation,
        {"audit": found.code, **found.numbers},
        (*weights, remedies.mend_data(found.what_to_do, mend)),
    )


def _severity(found: AuditFinding, spec: Spec | None) -> Severity:
    """What spoils a dataset need not explain a training: a class that is weighed, or is not very rare."""
    numbers = found.numbers
    if found.code == "class_imbalance" and (
        remedies.weighs_classes(spec) or numbers["smallest"]["count"] >= MIN_CLASS_BALANCE * numbers["largest"]["count"]
    ):
        return "info"
    if found.code == "class_missing" and not {"train", "test"} & set(numbers):
        return "info"
    return found.severity
