"""Diverged: a loss is not finite, ends above where it began, or lost what it had gained."""

from math import log

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.thresholds import (
    MAX_LOSS_OVER_GUESSING,
    MIN_DESCENT_TO_LOSE,
    MIN_EPOCHS,
    MIN_LOST_DESCENT,
    MIN_RISE,
    MIN_RISE_SIGMAS,
)


def find(facts: Facts) -> list[Finding]:
    curves, history = facts.curves, facts.curves.history
    for name in ("fit_loss", "train_loss", "validation_loss"):
        curve = getattr(history, name)
        if None in curve:
            epoch = curves.epoch_numbers[curve.index(None)]
            return [
                Finding(
                    "diverged",
                    "critical",
                    f"The {name.replace('_', ' ')} of epoch {epoch} is not finite: the weights have run away.",
                    {"curve": name, "epoch": epoch},
                    (remedies.lower_learning_rate(facts.spec),),
                )
            ]
    training = curves.training
    what_happened = _what_happened(facts)
    if training is None or what_happened is None:
        return []
    return [
        Finding(
            "diverged",
            "critical",
            f"The training loss ends at {training.last:.4g}, {what_happened}.",
            {
                "curve": "training",
                "first": training.values[0],
                "lowest": training.values[training.best],
                "last": training.last,
            },
            (remedies.lower_learning_rate(facts.spec),),
        )
    ]


def _what_happened(facts: Facts) -> str | None:
    """What is wrong with where the training loss ends; None if nothing is."""
    curves, training = facts.curves, facts.curves.training
    if training is None or len(training.values) < MIN_EPOCHS or not curves.of_loss:
        return None
    first, last = training.values[0], training.last
    least = MIN_RISE_SIGMAS * training.noise
    # Only a measured loss is known to be a cross-entropy without penalties.
    classes = len(facts.classes) if curves.is_measured else 0
    if classes > 1 and last > MAX_LOSS_OVER_GUESSING * log(classes):
        return f"above the {log(classes):.4g} that guessing among {classes} classes costs: it runs away"
    if classes < 2 and last - first > max(least, MIN_RISE * training.descent):
        return f"above the {first:.4g} of the first epoch: it runs away"
    had_learned = training.descent > MIN_DESCENT_TO_LOSE * abs(first)
    if had_learned and training.rise > max(least, MIN_LOST_DESCENT * training.descent):
        best_epoch = curves.epoch_numbers[training.best]
        return f"and was {training.values[training.best]:.4g} in epoch {best_epoch}: what was learned is lost again"
    return None
