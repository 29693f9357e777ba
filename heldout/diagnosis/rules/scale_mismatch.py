"""Scale mismatch: pixel values of one split are on another scale, or inverted."""

from heldout.diagnosis import remedies
from heldout.diagnosis.attribution import SCALES_OF_PIXELS
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.thresholds import MIN_CRITICAL_SHIFT
from heldout.diagnosis.undone_pixels import undone_pixels


def find(facts: Facts) -> list[Finding]:
    """What the audit found, else a test that is answered clearly better once its scale is undone."""
    if "scale_mismatch" in facts.audited:
        return list(facts.audited["scale_mismatch"])
    undone = undone_pixels(facts, SCALES_OF_PIXELS)
    if undone is None:
        return []
    severity: Severity = "critical" if undone.at_least > MIN_CRITICAL_SHIFT else "warning"
    advice = "Store the pixel values of all splits in the same way, and upload again."
    remedy = remedies.mend_data(advice, undone.mend)
    return [Finding("scale_mismatch", severity, undone.explanation, undone.evidence, (remedy,))]
