"""Scale mismatch: pixel values of one split are on another scale, or inverted. Only the audit sees it."""

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding


def find(facts: Facts) -> list[Finding]:
    return list(facts.audited.get("scale_mismatch", ()))
