"""The probability that a finding is true. Not calibrated yet: it is None of every finding."""

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding


def confidence_of(finding: Finding, facts: Facts) -> float | None:
    """A probability from the figures that the rules use; None where it is not calibrated."""
    del finding, facts
    return None
