"""Scale mismatch: pixel values of one split are on a different scale, or inverted."""

from heldout.diagnosis import remedies
from heldout.diagnosis.attribution import SCALES_OF_PIXELS
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.thresholds import MIN_CRITICAL_SHIFT
from heldout.diagnosis.undone_pixels import find_undone_pixels


def find(facts: Facts) -> list[Finding]:
    """Report what the audit found, and splits that are answered clearly better once their scale is undone."""
    found = list(facts.audited.get("scale_mismatch", ()))
    known = {finding.evidence.get("split", "test") for finding in found}
    for split in ("test", "validation"):
        undone = None if split in known else find_undone_pixels(facts, SCALES_OF_PIXELS, split)
        if undone is not None:
            severity: Severity = "critical" if undone.at_least > MIN_CRITICAL_SHIFT else "warning"
            remedy = remedies.suggest_data_fix(undone.advice, undone.fix)
            found.append(Finding("scale_mismatch", severity, undone.explanation, undone.evidence, (remedy,)))
    return found
