"""Overfitting: validation turned up and stays up while the training loss keeps falling."""

from dataclasses import asdict
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.course import Course, choose_patience
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity, SuggestedRemedy
from heldout.diagnosis.rules.kept_weights import are_from_before_the_rise, describe_cost, is_only_loss_better
from heldout.diagnosis.thresholds import MAX_LOST_DESCENT_OF_WARNING, MAX_RISE_OF_WARNING
from heldout.words.courses import (
    describe_accuracy,
    describe_best_and_end,
    describe_stopping_at_best,
    describe_training,
    explain_too_little_matters,
)


def find(facts: Facts) -> list[Finding]:
    """Report overfitting, unless accuracy held (overconfidence) or weights from before the rise were kept."""
    curves, heldout, training, last = facts.curves, facts.curves.heldout, facts.curves.training, facts.last
    explanation = explain(curves)
    if heldout is None or training is None or curves.best_epoch is None or explanation is None:
        return []
    if are_from_before_the_rise(facts) or (last is not None and is_only_loss_better(last)):
        return []
    evidence: dict[str, Any] = {
        "best_epoch": curves.best_epoch,
        "onset_epoch": curves.onset_epoch,
        "epochs": curves.epochs,
        "best": heldout.values[heldout.best],
        "last": heldout.values[-1],
        "rise": heldout.rise,
        "noise": heldout.noise,
        "training_at_best": curves.training_at_best,
        "training_at_end": training.last,
    }
    if curves.accuracy is not None:
        evidence["accuracy_change"] = curves.accuracy.change
        evidence["accuracy_change_error"] = curves.accuracy.error
    if last is not None:
        evidence["last_epoch"] = asdict(last)
        explanation += f" {describe_cost(last)}"
    severity = _choose_severity(curves)
    advised = () if severity == "info" else _suggest_remedies(facts, heldout, curves.best_epoch)
    return [Finding("overfitting", severity, explanation, evidence, advised)]


def _suggest_remedies(facts: Facts, heldout: Course, best_epoch: int) -> tuple[SuggestedRemedy, ...]:
    """Suggest early stopping, and regularization if the training images are known: it makes all learning harder."""
    curves = facts.curves
    keep_best = remedies.keep_lowest_loss(
        facts.base,
        best_epoch,
        describe_stopping_at_best(curves, heldout),
        choose_patience(heldout.values, heldout.best),
    )
    return keep_best if facts.knows_training is False else (*keep_best, *remedies.suggest_regularization(facts.base))


def _choose_severity(curves: Curves) -> Severity:
    heldout = curves.heldout
    if heldout is None or curves.rises_mildly:
        return "info"
    # A loss that may include an offset cannot be judged by its height.
    rise = heldout.rise / heldout.lowest if curves.is_measured and heldout.lowest > 0 else 0.0
    is_critical = rise > MAX_RISE_OF_WARNING or heldout.rise > MAX_LOST_DESCENT_OF_WARNING * heldout.descent
    return "critical" if is_critical else "warning"


def explain(curves: Curves) -> str | None:
    """Say what the curves show, or return None if that is not overfitting. The live guard uses the same text."""
    heldout, training = curves.heldout, curves.training
    if heldout is None or training is None or curves.onset_epoch is None or curves.is_overconfident:
        return None
    seen = f"{describe_best_and_end(curves, heldout)}. From epoch {curves.onset_epoch} on, it stays higher"
    if curves.rises_mildly:
        return f"{seen}. {explain_too_little_matters(curves)}"
    meanwhile = describe_training(curves, training)
    if curves.accuracy is not None:
        meanwhile += f", and {describe_accuracy(curves.accuracy)}"
    return (
        f"{seen}, while {meanwhile}. After epoch {curves.best_epoch}, the network only learned what holds for its "
        f"training images. Keep the weights of epoch {curves.best_epoch}, or make memorizing harder."
    )
