"""Other pixels: a model trained elsewhere expects different pixel values than the dataset has."""

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, SuggestedRemedy

CODE = "preprocessing_mismatch"


def find(facts: Facts) -> list[Finding]:
    """Report that pixels had to be changed for the model to work."""
    needed = facts.preprocessing
    if needed is None:
        return []
    remedy = SuggestedRemedy("preprocess_alike", needed.advice)
    return [Finding(CODE, "critical", needed.explanation, needed.evidence, (remedy,))]
