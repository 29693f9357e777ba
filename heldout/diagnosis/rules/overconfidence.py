"""Overconfidence: the held-out loss rises but accuracy does not fall, so the network is too sure of wrong answers."""

from dataclasses import asdict
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.course import choose_patience
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity, SuggestedRemedy
from heldout.diagnosis.rules import kept_weights
from heldout.stored.gap import Calibration
from heldout.words import percent
from heldout.words.courses import (
    describe_accuracy,
    describe_best_and_end,
    describe_stopping_at_best,
    explain_too_little_matters,
)
from heldout.words.data_and_models import describe_calibration


def find(facts: Facts) -> list[Finding]:
    """Report what the curves show, or weights kept for their loss that answer clearly worse than the last ones."""
    curves, last = facts.curves, facts.last
    explanation, is_mild = explain(curves), curves.rises_mildly
    if last is not None and kept_weights.is_only_loss_better(last):
        explanation, is_mild = f"{kept_weights.explain_kept_answers_worse(last)} {_WHY} {_NEXT}", False
    elif explanation is None or kept_weights.are_from_before_the_rise(facts):
        return []
    calibration = facts.calibration
    if calibration is not None and not is_mild:
        calibrated = describe_calibration(
            calibration.split, calibration.temperature, calibration.error_before, calibration.error_after
        )
        explanation = f"{explanation} {calibrated}"
    severity: Severity = "info" if is_mild else "warning"
    return [
        Finding(
            "overconfidence",
            severity,
            explanation,
            _collect_evidence(facts, calibration),
            () if is_mild else _suggest_remedies(facts, calibration),
        )
    ]


def explain(curves: Curves) -> str | None:
    """Say what the curves show, or return None if that is not overconfidence. The live guard uses the same text."""
    heldout, accuracy = curves.heldout, curves.accuracy
    if heldout is None or accuracy is None or not curves.is_overconfident:
        return None
    seen = f"{describe_best_and_end(curves, heldout)}, but {describe_accuracy(accuracy)}"
    if curves.rises_mildly:
        return f"{seen}. {explain_too_little_matters(curves)}"
    answers = "better than" if accuracy.rose and accuracy.values[-1] > accuracy.values[accuracy.best] else "as well as"
    return f"{seen}: the network answers {answers} before. {_WHY} {describe_stopping_at_best(curves, heldout)} {_NEXT}"


_WHY = "The loss rises because the network becomes more and more sure of its answers, including the wrong ones."
_NEXT = "Keep the most accurate weights, and do not rely on the network's probabilities until they are calibrated."


def _suggest_remedies(facts: Facts, calibration: Calibration | None) -> tuple[SuggestedRemedy, ...]:
    curves, accuracy = facts.curves, facts.curves.accuracy
    which, patience = "", 0
    if accuracy is not None:
        best = accuracy.best_by_accuracy
        which = f" (here epoch {curves.epoch_numbers[best]}, with {percent(accuracy.values[best])})"
        patience = choose_patience([-value for value in accuracy.values], best)
    return (
        *remedies.make_less_sure(facts.base, calibration),
        *remedies.keep_best_accuracy(facts.base, which, patience),
    )


def _collect_evidence(facts: Facts, calibration: Calibration | None) -> dict[str, Any]:
    curves, heldout, accuracy = facts.curves, facts.curves.heldout, facts.curves.accuracy
    evidence: dict[str, Any] = {"epochs": curves.epochs}
    if heldout is not None:
        evidence |= {
            "best_epoch": curves.best_epoch,
            "onset_epoch": curves.onset_epoch,
            "best": heldout.values[heldout.best],
            "last": heldout.values[-1],
            "rise": heldout.rise,
            "noise": heldout.noise,
        }
    if accuracy is not None:
        evidence |= {
            "best_epoch_by_accuracy": curves.epoch_numbers[accuracy.best_by_accuracy],
            "accuracy_at_best": accuracy.values[accuracy.best],
            "accuracy_at_end": accuracy.values[-1],
            "accuracy_change": accuracy.change,
            "accuracy_change_error": accuracy.error,
        }
    if calibration is not None:
        evidence["calibration"] = calibration.model_dump()
    if facts.last is not None:
        evidence["last_epoch"] = asdict(facts.last)
    return evidence
