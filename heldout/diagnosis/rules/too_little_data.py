"""Too little data: training images are known, held-out images far less, and nothing else explains the difference."""

from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.knowledge import known_of_history, knows
from heldout.diagnosis.rules import not_converged
from heldout.diagnosis.thresholds import MIN_BETTER_ON_TRAINING, MIN_LARGE_GAP
from heldout.diagnosis.words import counted, percent
from heldout.intervals import newcombe_interval

# What explains why held-out images are answered worse than training images.
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
    """By the kept weights' counts, else by the accuracies at the end of the curves."""
    train, validation = facts.train, facts.validation
    evidence: dict[str, Any] = {}
    if train is None or validation is None:
        known = known_of_history(facts)
        if known is None:
            return []
        trained, heldout, chance = known
        least = trained - heldout
    else:
        trained, heldout = train.accuracy, validation.accuracy
        chance = 1 / max(2, len(facts.classes))
        least, most = newcombe_interval(train.counts, validation.counts)
        evidence["difference_interval"] = [least, most]
    is_large = trained - heldout >= MIN_LARGE_GAP and least > MIN_BETTER_ON_TRAINING
    if not is_large or not knows(trained, chance) or not_converged.still_learns(facts):
        return []
    images = None if train is None else train.count
    told = (
        "Wrong labels do not explain that; whether training went on for too long, its curves would tell."
        if facts.has_answers_alone
        else "Neither the course of the training nor wrong labels explain that."
    )
    few = "Too few training images" if images is None else f"{counted(images, 'training image')} are too few"
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
            remedies.against_too_little_data(facts.spec, images),
        )
    ]
