"""What experiments change about the findings of a diagnosis: refuted ones go, proven ones are certain."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Cause, Diagnosis, Finding
from heldout.diagnosis.gap import Gap
from heldout.diagnosis.remedies import LEARNING_MORE, suggest
from heldout.diagnosis.rules.learning import has_high_rate
from heldout.proofs.known import Known
from heldout.proofs.order import ORDER_OF_TRAINING, TRAINING, is_training_left_poor
from heldout.proofs.outcomes import Outcomes, Tried
from heldout.remedies.catalogue import REMEDIES
from heldout.verdicts import FAULTS, FINDING_KINDS
from heldout.words import percent

# Which remedies follow from a proven cause; for others, those that usually help.
_REMEDIES = {
    "diverged": ("lower_learning_rate",),
    "not_converged": ("more_epochs",),
    "underfitting": LEARNING_MORE,
}


# Causes whose sentences need what their own rule has measured: without their finding, no experiment adds them.
_ONLY_CONFIRMED = frozenset(
    {"evaluation_lags", "memorised_noise", "preprocessing_mismatch", "shortcut_suspected", "worst_group", *FAULTS}
)


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
    blamed = {finding.code: TRAINING for finding in findings if finding.code in ORDER_OF_TRAINING}
    serious = [finding.code for finding in left if finding.severity != "info"]
    if is_training_left_poor(serious, make_known(blamed, facts), outcomes):
        left = [_make_left_poor(outcomes, facts), *left]
    return left


def drop_refuted(gap: Gap, outcomes: Outcomes) -> Gap:
    """Leave the terms of a gap without a cause that experiments have refuted."""
    terms = (
        replace(term, finding=None) if term.finding and outcomes.get_answer(term.finding) == "refuted" else term
        for term in gap.terms
    )
    return replace(gap, terms=tuple(terms))


def make_known(tiers: Mapping[str, str], facts: Facts) -> Known:
    """What the training shows of the order of its causes. tiers: of the causes that are listed."""
    splits = {"train": facts.train, "validation": facts.validation, "test": facts.test}
    counts = {name: figures.counts for name, figures in splits.items() if figures is not None}
    return Known(tiers, counts, has_high_rate(facts.spec))


def list_faults(found: Diagnosis) -> dict[str, dict[str, Mapping[str, Any]]]:
    """List the faults inside the network in the order of causes, with the patches that undo each."""
    named = [cause.code for cause in found.causes if cause.code in FAULTS]
    remedies = {finding.code: finding.remedies for finding in found.findings}
    return {code: {remedy.name: remedy.patch for remedy in remedies[code] if remedy.patch} for code in named}


def list_tiers(causes: Sequence[Cause]) -> dict[str, str]:
    """List the tiers of causes that experiments can decide, which faults inside a network are not."""
    return {cause.code: cause.tier for cause in causes if cause.code not in FAULTS}


def _make_left_poor(outcomes: Outcomes, facts: Facts) -> Finding:
    """What is left of a fault of training that was refuted: training images that the network does not know."""
    assert facts.train is not None
    answers = ((tried, tried.judgement.answers) for tried in outcomes.tried)
    sentences = [tried.judgement.sentence for tried, of in answers if "refuted" in map(of.get, ORDER_OF_TRAINING)]
    text = f"{' '.join(sentences)} But only {percent(facts.train.accuracy)} of its training images are right."
    numbers = {"train_accuracy": facts.train.accuracy}
    return Finding("underfitting", "warning", text, numbers, suggest(facts.base, *_REMEDIES["underfitting"]))


def _make_finding(code: str, tried: Tried, facts: Facts) -> Finding:
    names = _REMEDIES.get(code) or [name for name in FINDING_KINDS[code].remedies if name in REMEDIES]
    evidence = _build_evidence(code, tried, facts)
    return Finding(code, "warning", tried.judgement.sentence, evidence, suggest(facts.base, *names)[:3])


def _build_evidence(code: str, tried: Tried, facts: Facts) -> dict[str, Any]:
    judgement = tried.judgement
    evidence: dict[str, Any] = {"experiment": tried.experiment, "proof": judgement.sentence}
    if judgement.points is not None and judgement.interval is not None:
        evidence |= {"points": judgement.points, "points_interval": list(judgement.interval)}
    if code == "diverged" and facts.spec is not None:
        evidence["learning_rate"] = facts.spec["training"]["optimizer"]["learning_rate"]
    return evidence
