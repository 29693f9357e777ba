"""Overfitting: validation turned up and stays up while the training loss goes on falling."""

from dataclasses import asdict
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.rules.kept_weights import cost_of
from heldout.diagnosis.thresholds import MAX_LOST_DESCENT_OF_WARNING, MAX_RISE_OF_WARNING
from heldout.diagnosis.words import figure_of


def find(facts: Facts) -> list[Finding]:
    curves, heldout, training, last = facts.curves, facts.curves.heldout, facts.curves.training, facts.last
    explanation = explain(curves)
    if heldout is None or training is None or curves.best_epoch is None or explanation is None:
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
    if last is not None:
        evidence["last_epoch"] = asdict(last)
        explanation += f" {cost_of(last)}"
    # Of a loss that may hold an offset its height says nothing.
    rise = heldout.rise / heldout.lowest if curves.is_measured and heldout.lowest > 0 else 0.0
    is_critical = rise > MAX_RISE_OF_WARNING or heldout.rise > MAX_LOST_DESCENT_OF_WARNING * heldout.descent
    severity: Severity = "critical" if is_critical else "warning"
    return [
        Finding(
            "overfitting", severity, explanation, evidence, remedies.against_overfitting(facts.spec, curves.best_epoch)
        )
    ]


def explain(curves: Curves) -> str | None:
    """What the curves show; None if that is no overfitting. The live guard says the same."""
    heldout, training = curves.heldout, curves.training
    if heldout is None or training is None or curves.onset_epoch is None:
        return None
    best, last, at_best, at_end = (
        figure_of(value, is_loss=curves.of_loss)
        for value in (heldout.values[heldout.best], heldout.values[-1], curves.training_at_best, training.last)
    )
    went = "fell further" if training.last < curves.training_at_best else "went"
    return (
        f"The {curves.name} was lowest in epoch {curves.best_epoch} ({best}). From epoch {curves.onset_epoch} on it "
        f"stays higher, and it ends at {last}, while the {curves.training_name} {went} from {at_best} to {at_end}. "
        f"After epoch {curves.best_epoch} the network learned only what holds for its training images."
    )
