"""Underfitting: training has settled, but not even the training images are known."""

from math import log

from heldout.diagnosis import remedies
from heldout.diagnosis.evaluation import compute_skill
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.rules import not_converged
from heldout.diagnosis.thresholds import MIN_EPOCHS_TO_SETTLE, MIN_SKILL_ON_TRAINING
from heldout.statistics.intervals import compute_newcombe_interval
from heldout.words import percent


def _learns_too_little(facts: Facts) -> bool:
    """Whether training images are not known. With a measured gap, a low accuracy on them is enough."""
    if facts.train is None or facts.budget is None or facts.knows_training is False:
        return facts.knows_training is False
    return compute_skill(facts.train.accuracy, 1 / max(2, len(facts.classes))) < MIN_SKILL_ON_TRAINING


def find(facts: Facts) -> list[Finding]:
    train, validation, training = facts.train, facts.validation, facts.curves.training
    still_falls = training is not None and training.still_falls and not not_converged.hardly_learns(facts)
    if train is None or validation is None or not _learns_too_little(facts):
        return []
    if still_falls and facts.curves.onset_epoch is None:  # once validation has turned up, more epochs do not help
        return []
    if facts.curves.epochs < MIN_EPOCHS_TO_SETTLE and not facts.has_answers_alone:
        return []
    more = (
        "its curves would show whether more epochs can change that. If training has settled, the network"
        if facts.has_answers_alone
        else "and more epochs will hardly change that: it"
    )
    low, high = compute_newcombe_interval(train.counts, validation.counts)
    return [
        Finding(
            "underfitting",
            "warning",
            f"Training accuracy is only {percent(train.accuracy)}, and validation accuracy "
            f"{percent(validation.accuracy)}; guessing gives {percent(1 / len(facts.classes))}. The network has not "
            f"even learned its training images{';' if facts.has_answers_alone else ','} {more} needs to be larger or "
            "less regularized.",
            {
                "train_accuracy": train.accuracy,
                "validation_accuracy": validation.accuracy,
                "difference_interval": [low, high],
                "chance": 1 / len(facts.classes),
                "loss_of_guessing": log(len(facts.classes)),
            },
            remedies.suggest_for_underfitting(facts.base),
        )
    ]
