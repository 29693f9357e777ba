"""Which faults of the data have to be mended before remedies are compared: no change of a spec cures them."""

from collections.abc import Sequence
from typing import Any

from heldout.diagnosis.findings import Diagnosis, Finding
from heldout.mending.bodies import combined

# Copies across splits, and copies with different labels: what validation rewards is then not what is wanted.
_COPIES = {"leakage", "label_conflicts"}
_ORDER_AND_PIXELS = {"label_order_mismatch", "scale_mismatch", "split_shift"}


def mended_first(diagnosis: Diagnosis) -> tuple[Finding, ...]:
    """The findings that have to be mended first: copies, another order of labels, other pixel values.

    A few copies do not count, and neither does a split of other images: no new version cures that for sure.
    """
    return tuple(one for one in diagnosis.findings if _must_be_mended(one, diagnosis.verdict))


def mend_of(findings: Sequence[Finding]) -> dict[str, Any] | None:
    """The body of `POST /v1/datasets/{id}/versions` that mends all of it; None where there is none."""
    bodies = [body for one in findings if (body := _body_of(one)) is not None]
    return combined(bodies) if bodies else None


def _must_be_mended(finding: Finding, verdict: str) -> bool:
    if finding.code in _COPIES:
        return finding.severity == "critical"
    if finding.code not in _ORDER_AND_PIXELS:
        return False
    body = _body_of(finding)
    if finding.code == "split_shift" and "pixel_values" not in (body or {}):
        return False
    return finding.severity == "critical" or finding.code == verdict


def _body_of(finding: Finding) -> dict[str, Any] | None:
    return next((remedy.mend for remedy in finding.remedies if remedy.mend is not None), None)
