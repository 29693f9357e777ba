"""Overconfidence: the held-out loss rises and accuracy does not fall: the network is too sure where it is wrong."""

from dataclasses import asdict
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.rules import kept_weights
from heldout.diagnosis.sentences import accuracy_went, best_and_end, stopping_at_best, too_little_to_matter
from heldout.stored.gap import Calibration


def find(facts: Facts) -> list[Finding]:
    """By the curves; or because weights that were kept for their loss answer surely worse than the last ones."""
    curves, last = facts.curves, facts.last
    explanation = explain(curves)
    is_mild = curves.rises_mildly
    if last is not None and kept_weights.only_loss_is_better(last):
        explanation = f"{kept_weights.kept_is_worse(last)} {explanation or _WHY}"
        is_mild = False
    elif explanation is None or kept_weights.were_kept_in_time(facts):
        return []
    calibration = None if facts.gap is None else facts.gap.calibration
    if is_mild:
        explanation += f" {too_little_to_matter(curves)}"
    elif calibration is not None:
        explanation += f" {_told(calibration)}"
    accuracy = curves.accuracy
    best_by_accuracy = None if accuracy is None else curves.epoch_numbers[accuracy.best_by_accuracy]
    return [
        Finding(
            "overconfidence",
            "info" if is_mild else "warning",
            explanation,
            _evidence(facts, best_by_accuracy, calibration),
            remedies.against_overconfidence(
                facts.spec, best_by_accuracy, None if calibration is None else calibration.temperature
            ),
        )
    ]


def explain(curves: Curves) -> str | None:
    """What the curves show; None if that is no overconfidence. The live guard says the same."""
    heldout, accuracy = curves.heldout, curves.accuracy
    if heldout is None or accuracy is None or not curves.is_overconfident:
        return None
    return (
        f"{best_and_end(curves, heldout)}, but {accuracy_went(accuracy)}: the network answers as well as before, or "
        f"better. {_WHY} {stopping_at_best(curves, heldout)}"
    )


_WHY = "The loss rises because it becomes ever surer of its answers, the wrong ones too."


def _told(calibration: Calibration) -> str:
    before, after = (f"{100 * error:.1f} points" for error in (calibration.error_before, calibration.error_after))
    return (
        f"How sure it says it is differs from how often it is right by {before} on average, and by {after} once its "
        f"outputs are divided by {calibration.temperature:.2f}."
    )


def _evidence(facts: Facts, best_by_accuracy: int | None, calibration: Calibration | None) -> dict[str, Any]:
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
            "best_epoch_by_accuracy": best_by_accuracy,
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
