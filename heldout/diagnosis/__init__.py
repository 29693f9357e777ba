"""Why test results are worse than training results: a verdict with evidence, from curves, counts and an audit.

Nothing here reads or writes anything, so the same input gives the same answer everywhere.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from heldout.diagnosis.attribution import attribute_terms, drop_explained, weigh_findings
from heldout.diagnosis.causes import list_causes, list_caveats
from heldout.diagnosis.confidence import compute_confidences, compute_verdict_confidence, get_certainty
from heldout.diagnosis.evaluation import Evaluation
from heldout.diagnosis.facts import collect_facts
from heldout.diagnosis.findings import CANNOT_TELL, Cause, Diagnosis, Finding, SuggestedRemedy
from heldout.diagnosis.history import History, measures_training_at_end
from heldout.diagnosis.key_figures import list_key_figures
from heldout.diagnosis.precedence import GRAVITY, collect_findings
from heldout.diagnosis.proven import apply_outcomes, drop_refuted, list_tiers, make_known
from heldout.diagnosis.restrict import (
    ALL_SPLITS,
    WITHOUT_TEST,
    audit_of_folds,
    audit_without_test,
    check_splits,
    remove_test,
)
from heldout.diagnosis.rules.data import prefer_resplit
from heldout.diagnosis.unexplained import judge_without_findings
from heldout.proofs.order import is_proven as is_verdict_proven
from heldout.proofs.outcomes import NOTHING_TRIED, Outcomes
from heldout.remedies.change import RemedyBase
from heldout.spec.model_facts import NetworkFacts
from heldout.stored.audit import AuditFinding, SplitLabels
from heldout.words.terms import describe_budget, explain_terms, explain_training_first
from heldout.words.verdicts import describe, soften

__all__ = [
    "ALL_SPLITS",
    "WITHOUT_TEST",
    "Cause",
    "Diagnosis",
    "Evaluation",
    "Finding",
    "History",
    "SuggestedRemedy",
    "diagnose",
]

_TRAINING_AT_END = (
    "Training images were only measured at the end (`evaluation.train` is `final`), so the training curve is the one "
    "that `fit` reports: an average over each epoch, with dropout and augmentation."
)


def diagnose(
    history: History,
    audit: Sequence[AuditFinding] | None = None,
    evaluation: Evaluation | None = None,
    spec: Mapping[str, Any] | None = None,
    *,
    splits: AbstractSet[str] = ALL_SPLITS,
    labels: Mapping[str, SplitLabels] | None = None,
    group_rule: str | None = None,
    network: NetworkFacts | None = None,
    has_photographs: bool = False,
    outcomes: Outcomes = NOTHING_TRIED,
) -> Diagnosis:
    """Say what explains the difference between training and held-out results.

    Args:
        history: the curves so far; the training may still be running.
        audit: the findings of the dataset's audit. For a job with folds, findings about the dataset's own validation
            split are ignored.
        evaluation: how the kept weights do on each split, as counts.
        spec: the job's complete spec, needed to turn remedies into patches.
        splits: the splits that may be used. Automatic choices pass `WITHOUT_TEST`, so the answer uses no test figures.
        labels: how many labels of each split are wrong, if a search for wrong labels can tell.
        group_rule: for file names, if features of the dataset show that its groups are real; no one has declared them.
        network: about the uploaded model that is the job's network.
        has_photographs: whether remedies may start from a network that has learned from photographs.
        outcomes: what experiments have shown.

    Raises:
        ValueError: if `splits` is neither `ALL_SPLITS` nor `WITHOUT_TEST`.
    """
    check_splits(splits)
    if audit is not None and spec is not None and spec.get("validation"):
        audit = audit_of_folds(audit)
    if "test" not in splits:
        audit = None if audit is None else audit_without_test(audit)
        evaluation = None if evaluation is None else remove_test(evaluation)
        outcomes = outcomes.without_test()
    labels = {split: found for split, found in (labels or {}).items() if split in splits}
    base = None if spec is None else RemedyBase(spec, facts=network, has_photographs=has_photographs)
    facts = collect_facts(history, audit, evaluation, base, labels, group_rule)
    confidences = compute_confidences(facts)
    findings = [
        finding if finding.severity == "info" else replace(finding, confidence=confidences.get(finding.code))
        for finding in prefer_resplit(collect_findings(facts), facts)
    ]
    gap = None if facts.budget is None else attribute_terms(facts.budget, facts, findings)
    if gap is not None:
        findings = weigh_findings(drop_explained(findings, gap), gap, facts)
        gap = drop_refuted(gap, outcomes)
    findings = apply_outcomes(findings, outcomes, facts)
    serious = {finding.code for finding in findings if finding.severity != "info"}
    # What is listed as a cause is not listed again as a note.
    findings = [finding for finding in findings if finding.severity != "info" or finding.code not in serious]
    causes, of_causes = list_causes(facts, findings, gap)
    chosen = None
    if causes:
        chosen = of_causes[0]
        verdict, explanation = chosen.code, chosen.explanation
        headline, summary = describe(facts, of_causes, causes)
    else:
        verdict, headline, summary, explanation = judge_without_findings(facts, outcomes)
    if gap is not None:
        gap = explain_terms(gap)
        explains = None if chosen is None else chosen.explains
        is_of_loss = explains is not None and explains.matters_by_loss and causes[0].tier == "loss_only"
        lead = describe_budget(gap, by_loss=is_of_loss)
        # A training fault whose own text does not give the training accuracy: the budget alone would mislead.
        is_bare = (
            chosen is not None
            and facts.knows_training is False
            and causes[0].tier == "training_broken"
            and "train_accuracy" not in chosen.evidence
        )
        first = f"{explain_training_first(gap)} " if is_bare else ""
        explanation = f"{lead} {first}{explanation}"
    if measures_training_at_end(spec):
        explanation = f"{explanation} {_TRAINING_AT_END}"
    if gap is None:
        confidence = confidences.get(verdict)
    else:
        # Neither fit covers answers from other programs.
        confidence = (
            compute_verdict_confidence(verdict, causes, gap) if confidences and verdict != CANNOT_TELL else None
        )
    is_proven = is_verdict_proven(verdict, make_known(list_tiers(causes), facts), outcomes)
    if causes and not is_proven and get_certainty(confidence) == "not sure":
        headline = soften(headline, verdict)
    return Diagnosis(
        verdict,
        facts.curves.best_epoch,
        facts.curves.onset_epoch,
        explanation,
        tuple(sorted(findings, key=lambda finding: (finding is not chosen, GRAVITY.index(finding.severity)))),
        list_caveats(causes),
        gap,
        confidence,
        facts.calibration,
        causes=causes,
        headline=headline,
        summary=summary,
        is_proven=is_proven,
        tried=tuple(outcomes.tried),
        groups={
            split: figures.columns
            for split, figures in (("validation", facts.validation), ("test", facts.test))
            if figures is not None and figures.columns
        },
        figures=list_key_figures(
            {"train": facts.train, "validation": facts.validation, "test": facts.test}, facts.classes, history
        ),
    )
