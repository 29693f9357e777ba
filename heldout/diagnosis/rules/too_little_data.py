"""Too little data: training images are known far better than held-out ones, and nothing else explains it."""

from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.knowledge import compute_lag, knows
from heldout.diagnosis.rules import not_converged
from heldout.diagnosis.thresholds import MIN_SURE_GAP
from heldout.words import percent, pluralize

# Findings that explain worse answers to held-out images if no measured gap says by how much.
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
    """Judge by the kept weights' counts, or else by the accuracies at the end of the curves.

    Every part of a measured gap that is clearly above chance must belong to a finding: to this one if to no other.
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
    ruled_out = (
        "Wrong labels do not explain that; only the training's curves could show whether it was trained too long."
        if facts.has_answers_alone
        else "Neither the course of the training nor wrong labels explain that."
    )
    few = "Too few training images" if images is None else f"{pluralize(images, 'training image')} are too few"
    return [
        Finding(
            "too_little_data",
            "warning",
            f"The network answers {percent(trained)} of its training images correctly, but only {percent(heldout)} of "
            f"the validation images. {ruled_out} {few} for this network to learn what holds for other images. More "
            "images help most, then more varied ones.",
            {
                "train_accuracy": trained,
                "validation_accuracy": heldout,
                "difference": trained - heldout,
                "images": images,
                **evidence,
            },
            remedies.suggest_for_little_data(facts.base, images),
        )
    ]
