"""Diverged: a loss is not finite, ends above its start, or lost most of what it had gained."""

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
from heldout.words.courses import describe_end

# In the order in which they are checked.
_NAMES = {"fit_loss": "training loss", "train_loss": "training loss", "validation_loss": "validation loss"}


def find(facts: Facts) -> list[Finding]:
    curves, history = facts.curves, facts.curves.history
    for name in _NAMES:
        curve = getattr(history, name)
        if None in curve:
            epoch = curves.epoch_numbers[curve.index(None)]
            return [
                Finding(
                    "diverged",
                    "critical",
                    f"In epoch {epoch}, the {_NAMES[name]} is no longer a finite number: training has diverged.",
                    {"curve": name, "epoch": epoch},
                    remedies.suggest_lower_learning_rate(facts.base),
                )
            ]
    training = curves.training
    what_happened = _describe_what_happened(facts)
    if training is None or what_happened is None:
        return []
    return [
        Finding(
            "diverged",
            "critical",
            f"The training loss {describe_end(training, is_loss=True)}, {what_happened}. The training steps were too "
            "large.",
            {
                "curve": "training",
                "first": training.values[0],
                "lowest": training.values[training.best],
                "last": training.last,
            },
            remedies.suggest_lower_learning_rate(facts.base),
        )
    ]


def _describe_what_happened(facts: Facts) -> str | None:
    """Say what is wrong with the end of the training loss, or return None if nothing is."""
    curves, training = facts.curves, facts.curves.training
    if training is None or len(training.values) < MIN_EPOCHS or not curves.of_loss:
        return None
    first, last = training.values[0], training.last
    least = MIN_RISE_SIGMAS * training.noise
    # Only a measured loss is known to be a cross-entropy without penalties.
    classes = len(facts.classes) if curves.is_measured else 0
    if classes > 1 and last > MAX_LOSS_OVER_GUESSING * log(classes):
        return f"higher than guessing among {classes} classes would give ({log(classes):.4g}): training has diverged"
    if classes < 2 and last - first > max(least, MIN_RISE * training.descent):
        return f"higher than in the first epoch ({first:.4g}): training has diverged"
    had_learned = training.descent > MIN_DESCENT_TO_LOSE * abs(first)
    if had_learned and training.rise > max(least, MIN_LOST_DESCENT * training.descent):
        best_epoch = curves.epoch_numbers[training.best]
        lowest = training.values[training.best]
        return f"but was {lowest:.4g} in epoch {best_epoch}: the network has lost what it had learned"
    return None
