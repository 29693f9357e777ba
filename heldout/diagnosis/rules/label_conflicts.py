"""Label conflicts: one image has several labels. Only the audit can find them."""

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding


def find(facts: Facts) -> list[Finding]:
    return list(facts.audited.get("label_conflicts", ()))
