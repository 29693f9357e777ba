"""Too little data: training images are known, held-out images far less, and nothing else explains the difference."""

from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.knowledge import compute_lag, knows
from heldout.diagnosis.rules import not_converged
from heldout.diagnosis.thresholds import MIN_SURE_GAP
from heldout.words import percent, pluralize

# What explains why held-out images are answered worse than training images, where no gap tells by how much.
EXPLAINED_BY = (
    "label_conflicts",
    "label_noise",
    "memorised_noise",
    "collapsed_class",
    "diverged",
    "overfitting",
    "underfitting",
)


def find(facts: Facts) -> list[Finding]:
    """By the kept weights' counts, else by the accuracies at the end of the curves.

    Where the gap was measured, all of it that is surely there belongs to some finding: to this one, if to no other.
    """
    lag = compute_lag(facts)
    if lag is None or facts.knows_training is False:
        return []
    if facts.budget is not None:
        if lag.interval is None or lag.interval[0] < MIN_SURE_GAP:
            return []
    elif not lag.is_surely_large or not knows(lag.trained, lag.chance) or not_converged.still_learns(facts):
        return []
    train, trained, heldout = facts.train, lag.trained, lag.heldout
    evidence: dict[str, Any] = {} if lag.interval is None else {"difference_interval": [*lag.interval]}
    images = None if train is None else train.count
    told = (
        "Wrong labels do not explain that; whether training went on for too long, its curves would tell."
        if facts.has_answers_alone
        else "Neither the course of the training nor wrong labels explain that."
    )
    few = "Too few training images" if images is None else f"{pluralize(images, 'training image')} are too few"
    return [
        Finding(
            "too_little_data",
            "warning",
            f"The network answers {percent(trained)} of its training images correctly, but only {percent(heldout)} of "
            f"the validation images. {told} {few} for this network to learn what holds for others. More images help "
            "most, then more varied ones.",
            {
                "train_accuracy": trained,
                "validation_accuracy": heldout,
                "difference": trained - heldout,
                "images": images,
                **evidence,
            },
            remedies.suggest_for_little_data(facts.spec, images),
        )
    ]
