"""A job with folds has its own splits, so findings about the dataset's validation split do not apply."""

from heldout.diagnosis import diagnose
from heldout.stored.audit import AuditFinding
from tests.heldout.diagnosis.made import FINE, spec

COPIED = {"images": 40, "exact": 40, "near": 0, "share": 0.1}


def finding(code: str, **numbers: object) -> AuditFinding:
    return AuditFinding(code=code, severity="critical", numbers=numbers, explanation="It is so.", what_to_do="Fix it.")


AUDIT = [
    finding("leakage", validation_in_train=COPIED, test_in_train=COPIED),
    finding("group_across_splits", groups=9, crossing=3),
    finding("class_shift", validation={"class": "a", "train_share": 0.5, "share": 0.1}),
    finding("inverted_values", split="validation"),
    finding("scale_mismatch", split="test"),
    finding("test_too_small", count=9),
]


def list_audit_codes(asked: dict) -> set[str]:
    return {finding.evidence["audit"] for finding in diagnose(FINE, AUDIT, None, asked).findings if finding.evidence}


def test_findings_about_the_datasets_own_validation_split_are_left_out_of_a_job_with_folds() -> None:
    without = list_audit_codes(spec())
    with_folds = list_audit_codes({**spec(), "validation": {"folds": 5, "fold": 0, "seed": 0}})
    assert {"scale_mismatch", "test_too_small"} <= with_folds
    assert without - with_folds == {"leakage", "group_across_splits", "inverted_values", "class_shift"}
