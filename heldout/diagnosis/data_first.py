"""Data faults that must be fixed before remedies are compared, since no change of a spec cures them."""

from collections.abc import Sequence
from typing import Any

from heldout.diagnosis.findings import Diagnosis, Finding
from heldout.fixes.bodies import combine_bodies

# With copies across splits, or copies with different labels, validation rewards the wrong thing.
_COPIES = {"leakage", "label_conflicts"}
_ORDER_AND_PIXELS = {"label_order_mismatch", "scale_mismatch", "split_shift"}


def select_first_fixes(diagnosis: Diagnosis) -> tuple[Finding, ...]:
    """The findings to fix first: copies, labels in another order, other pixel values.

    With a measured gap, these are the findings whose cost is certain; without one, the serious ones. Splits with
    different images do not count, since no new version is certain to cure that.
    """
    return tuple(finding for finding in diagnosis.findings if _must_be_fixed(finding, diagnosis))


def get_fix(findings: Sequence[Finding]) -> dict[str, Any] | None:
    """The body of `POST /v1/datasets/{id}/versions` that fixes all findings, or None if none has a fix."""
    bodies = [body for finding in findings if (body := _find_body(finding)) is not None]
    return combine_bodies(bodies) if bodies else None


def _must_be_fixed(finding: Finding, diagnosis: Diagnosis) -> bool:
    code = finding.code
    if code not in _COPIES | _ORDER_AND_PIXELS or finding.severity == "info":
        return False
    if code == "split_shift" and "pixel_values" not in (_find_body(finding) or {}):
        return False
    if diagnosis.gap is None:
        return finding.severity == "critical" or (code in _ORDER_AND_PIXELS and code == diagnosis.verdict)
    cause = next((known_cause for known_cause in diagnosis.causes if known_cause.code == code), None)
    if cause is None:
        return False
    return cause.tier == "figures_not_true" or (code == "label_conflicts" and cause.points is not None)


def _find_body(finding: Finding) -> dict[str, Any] | None:
    return next((remedy.fix for remedy in finding.remedies if remedy.fix is not None), None)
