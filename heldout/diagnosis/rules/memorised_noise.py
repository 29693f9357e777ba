"""Memorized noise: the training images are memorized, and nothing learned holds beyond them."""

from heldout.diagnosis import remedies
from heldout.diagnosis.evaluation import SplitFigures, compute_chance, compute_own_chance, compute_skill
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.thresholds import (
    COMPARISON_CONFIDENCE,
    MAX_CHANCE_SKILL,
    MIN_HELD_SKILL,
    MIN_IMAGES_OF_NOISE,
    MIN_MEMORIZED_SKILL,
)
from heldout.statistics.intervals import compute_wilson_interval
from heldout.words import percent


def find(facts: Facts) -> list[Finding]:
    train, validation, classes = facts.train, facts.validation, len(facts.classes)
    if train is None or validation is None or classes < 2 or train.count < MIN_IMAGES_OF_NOISE * classes:
        return []
    last = [value for value in facts.curves.history.train_accuracy if value is not None]
    known = max([train.accuracy, *last[-1:]])
    low, high = compute_wilson_interval(*validation.counts)
    chance = compute_chance(validation, classes)
    # With random labels the network can only guess, so anything better on new images rules them out.
    if _is_better_than_guessing(validation, classes) or _is_better_than_guessing(facts.test, classes):
        return []
    if (
        compute_skill(known, compute_chance(train, classes)) < MIN_MEMORIZED_SKILL
        or compute_skill(high, chance) > MAX_CHANCE_SKILL
    ):
        return []
    return [
        Finding(
            "memorised_noise",
            "critical",
            f"Training accuracy reaches {percent(known)}, but validation accuracy is only "
            f"{percent(validation.accuracy)}, and guessing gives {percent(chance)}. The labels seem to have nothing to "
            "do with the images, and the network has memorized them: check how labels were joined to images.",
            {
                "train_accuracy": known,
                "validation_accuracy": validation.accuracy,
                "validation_interval": [low, high],
                "chance": chance,
            },
            (remedies.suggest_data_fix("Check how labels were joined to images: they look shuffled."),),
        )
    ]


def _is_better_than_guessing(figures: SplitFigures | None, classes: int) -> bool:
    if figures is None:
        return False
    low, _ = compute_wilson_interval(*figures.counts, COMPARISON_CONFIDENCE)
    return compute_skill(low, compute_own_chance(figures, classes)) > MIN_HELD_SKILL
