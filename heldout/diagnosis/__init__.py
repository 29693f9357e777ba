"""Why test results are worse than training results: a verdict with its evidence, from curves, counts and an audit.

Nothing here reads or writes anything; the same input gives the same answer everywhere.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from heldout.diagnosis import labels, training
from heldout.diagnosis.audited import of_audit
from heldout.diagnosis.evaluation import Evaluation
from heldout.diagnosis.findings import Diagnosis, Finding, Remedy, in_order
from heldout.diagnosis.history import History
from heldout.diagnosis.restrict import (
    ALL_SPLITS,
    WITHOUT_TEST,
    audit_without_test,
    check_splits,
    evaluation_without_test,
)
from heldout.diagnosis.splits import of_splits
from heldout.diagnosis.training import Curves, curves_of
from heldout.diagnosis.unexplained import without_findings
from heldout.stored.audit import AuditFinding

__all__ = ["ALL_SPLITS", "WITHOUT_TEST", "Diagnosis", "Evaluation", "Finding", "History", "Remedy", "diagnose"]


def diagnose(
    history: History,
    audit: Sequence[AuditFinding] | None = None,
    evaluation: Evaluation | None = None,
    spec: Mapping[str, Any] | None = None,
    *,
    splits: AbstractSet[str] = ALL_SPLITS,
) -> Diagnosis:
    """Say what explains the difference between training and held-out results.

    Args:
        history: the curves so far; a training may still run.
        audit: the findings of the dataset's audit.
        evaluation: the kept weights on each split, as counts.
        spec: the job's complete spec, from which remedies become patches.
        splits: which splits may be used. Automatic choices pass `WITHOUT_TEST`: then nothing of test enters the answer.

    Raises:
        ValueError: if `splits` is neither `ALL_SPLITS` nor `WITHOUT_TEST`.
    """
    check_splits(splits)
    if "test" not in splits:
        audit = None if audit is None else audit_without_test(audit)
        evaluation = None if evaluation is None else evaluation_without_test(evaluation)
    curves = curves_of(history, evaluation)
    found = in_order(_without_early([*_of_training(curves, evaluation, spec), *_of_data(audit, evaluation, spec)]))
    grave = [one for one in found if one.severity != "info"]
    if grave:
        verdict, explanation = grave[0].code, grave[0].explanation
    else:
        verdict, explanation = without_findings(curves, evaluation)
    return Diagnosis(
        verdict=verdict,
        best_epoch=None if curves.turn is None else curves.number(curves.turn.best),
        onset_epoch=None if curves.onset is None else curves.number(curves.onset),
        explanation=explanation,
        findings=found,
    )


def _of_training(curves: Curves, evaluation: Evaluation | None, spec: Mapping[str, Any] | None) -> list[Finding]:
    history = curves.history
    noise = labels.memorised_noise(history, evaluation)
    runaway = training.diverged(curves, evaluation, spec)
    found = [noise, runaway, training.metric_artefact(history, evaluation)]
    if runaway is None:
        unfinished = training.not_converged(curves, spec)
        mislabelled = labels.label_noise(history, evaluation)
        explained = unfinished is not None or mislabelled is not None
        found += [
            # Learning noise by heart is overfitting too, and the cure is another one.
            training.overfitting(curves, evaluation, spec) if noise is None else None,
            training.kept_earlier(curves, evaluation),
            unfinished,
            None if explained else training.knows_little(curves, evaluation, spec),
            mislabelled,
        ]
    return [one for one in found if one is not None]


def _without_early(found: list[Finding]) -> list[Finding]:
    """While a network is still learning, a class that it does not know yet says nothing."""
    early = any(one.code == "not_converged" and one.severity != "info" for one in found)
    return [one for one in found if not (early and one.code == "collapsed_class")]


def _of_data(
    audit: Sequence[AuditFinding] | None, evaluation: Evaluation | None, spec: Mapping[str, Any] | None
) -> list[Finding]:
    seen = [] if audit is None else of_audit(audit, spec)
    counted = [] if evaluation is None else of_splits(evaluation, spec)
    if evaluation is not None and evaluation.get("test") is not None:
        # The audit knows how many images there are; the accuracy that was measured tells how many are needed.
        seen = [one for one in seen if one.evidence["audit"] != "test_too_small"]
    known = {one.code for one in seen} - {"test_too_small"}
    # What the pictures themselves show says more than what follows from it.
    explained = known & {"scale_mismatch", "label_order_mismatch"}
    counted = [one for one in counted if one.code not in known and not (explained and one.code == "split_shift")]
    if explained or any(one.code == "split_shift" for one in [*seen, *counted]):
        # That a test of another kind is answered badly, class by class, says nothing of the network.
        counted = [one for one in counted if not (one.code == "collapsed_class" and one.evidence["split"] == "test")]
    return seen + counted
