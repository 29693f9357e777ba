"""What experiments change about the findings of a diagnosis: refuted ones go, proven ones are certain."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import HEALTHY, Finding
from heldout.diagnosis.remedies import suggest
from heldout.proofs.outcomes import Outcomes, Tried
from heldout.remedies.catalogue import REMEDIES
from heldout.verdicts import FINDING_KINDS

# Which remedies follow from a proven cause; for others, those that usually help.
_REMEDIES = {
    "diverged": ("lower_learning_rate",),
    "not_converged": ("more_epochs",),
    "underfitting": ("larger_network", "less_regularisation"),
}


# Causes whose sentences need what their own rule has measured: without their finding, no experiment adds them.
_ONLY_CONFIRMED = frozenset({"evaluation_lags", "memorised_noise", "preprocessing_mismatch", "worst_group"})


def apply_outcomes(findings: Sequence[Finding], outcomes: Outcomes, facts: Facts) -> list[Finding]:
    """Drop what is refuted, and add or confirm what is proven, with the experiment's figures as evidence."""
    left = [
        finding for finding in findings if finding.severity == "info" or outcomes.get_answer(finding.code) != "refuted"
    ]
    for code in outcomes.proven:
        tried = outcomes.find_proof(code)
        if tried is None or code not in FINDING_KINDS:
            continue
        known = next((finding for finding in left if finding.code == code and finding.severity != "info"), None)
        if known is None and code in _ONLY_CONFIRMED:
            continue
        if known is None:
            left = [_make_finding(code, tried, facts), *left]
        else:
            confirmed = replace(known, evidence=known.evidence | _build_evidence(code, tried, facts))
            left = [confirmed if finding is known else finding for finding in left]
    return left


def is_verdict_proven(verdict: str, outcomes: Outcomes) -> bool:
    return outcomes.is_healthy() if verdict == HEALTHY else outcomes.get_answer(verdict) == "proven"


def _make_finding(code: str, tried: Tried, facts: Facts) -> Finding:
    names = _REMEDIES.get(code) or [name for name in FINDING_KINDS[code].remedies if name in REMEDIES][:3]
    evidence = _build_evidence(code, tried, facts)
    return Finding(code, "warning", tried.judgement.sentence, evidence, suggest(facts.base, *names))


def _build_evidence(code: str, tried: Tried, facts: Facts) -> dict[str, Any]:
    judgement = tried.judgement
    evidence: dict[str, Any] = {"experiment": tried.experiment, "proof": judgement.sentence}
    if judgement.points is not None and judgement.interval is not None:
        evidence |= {"points": judgement.points, "points_interval": list(judgement.interval)}
    if code == "diverged" and facts.spec is not None:
        evidence["learning_rate"] = facts.spec["training"]["optimizer"]["learning_rate"]
    return evidence
