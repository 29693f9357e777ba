"""Other pixels: a model that was trained elsewhere understands other pixel values than those of the dataset."""

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, SuggestedRemedy

CODE = "preprocessing_mismatch"


def find(facts: Facts) -> list[Finding]:
    """Where its pixels had to be changed before it answered."""
    needed = facts.preprocessing
    if needed is None:
        return []
    remedy = SuggestedRemedy("preprocess_alike", needed.advice)
    return [Finding(CODE, "critical", needed.explanation, needed.evidence, (remedy,))]
