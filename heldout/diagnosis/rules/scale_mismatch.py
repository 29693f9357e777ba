"""Scale mismatch: pixel values of one split are on another scale, or inverted."""

from heldout.diagnosis import remedies
from heldout.diagnosis.attribution import SCALES_OF_PIXELS
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.thresholds import MIN_CRITICAL_SHIFT
from heldout.diagnosis.undone_pixels import find_undone_pixels


def find(facts: Facts) -> list[Finding]:
    """What the audit found, else a split that is answered clearly better once its scale is undone."""
    found = list(facts.audited.get("scale_mismatch", ()))
    known = {finding.evidence.get("split", "test") for finding in found}
    for split in ("test", "validation"):
        undone = None if split in known else find_undone_pixels(facts, SCALES_OF_PIXELS, split)
        if undone is not None:
            severity: Severity = "critical" if undone.at_least > MIN_CRITICAL_SHIFT else "warning"
            remedy = remedies.fix_data(undone.advice, undone.fix)
            found.append(Finding("scale_mismatch", severity, undone.explanation, undone.evidence, (remedy,)))
    return found
