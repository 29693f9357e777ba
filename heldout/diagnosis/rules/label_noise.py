"""Label noise: some labels are wrong, by what the network answers, or by the search for wrong labels."""

from collections.abc import Mapping
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.course import smoothed
from heldout.diagnosis.evaluation import chance_of, skill_of
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.history import History, finite
from heldout.diagnosis.thresholds import (
    COMPARISON_CONFIDENCE,
    MIN_COMPARED_SKILL,
    MIN_PART_OF_TRAINING,
    MIN_WRONG_SHARE,
)
from heldout.statistics.intervals import newcombe_interval
from heldout.stored.suspects import SplitLabels
from heldout.words import percent

SPLIT_WORDS = {"train": "training", "validation": "validation", "test": "test"}


def find(facts: Facts) -> list[Finding]:
    """Wrong labels that explain how training images are answered."""
    return [*(_in_labels(facts) if _explains_training(facts) else []), *_in_answers(facts)]


def beside_others(facts: Facts) -> list[Finding]:
    """Wrong labels that do not explain it: in held-out splits, or few beside another fault of the training."""
    return [] if _explains_training(facts) else _in_labels(facts)


def _explains_training(facts: Facts) -> bool:
    found = _found(facts).get("train")
    if found is None:
        return False
    lacking = 0.0 if facts.train is None else 1 - facts.train.accuracy
    return found.low / found.images >= MIN_PART_OF_TRAINING * lacking


def _found(facts: Facts) -> Mapping[str, SplitLabels]:
    """The splits with wrong labels beyond doubt.

    None where the classes of a split are in another order: networks learn those labels too, and all counts are false.
    """
    if "label_order_mismatch" in facts.audited:
        return {}
    return {
        split: found for split, found in facts.labels.items() if found.low >= max(1, MIN_WRONG_SHARE * found.images)
    }


def _in_labels(facts: Facts) -> list[Finding]:
    """The search for wrong labels has found some, whatever the training was."""
    found = _found(facts)
    if not found:
        return []
    counts = ", ".join(
        f"{percent(one.count / one.images)} of the {SPLIT_WORDS[split]} labels ({one.low:,} to {one.high:,} of "
        f"{one.images:,})"
        for split, one in found.items()
    )
    share = max(one.count / one.images for one in found.values())
    evidence: dict[str, Any] = {
        "by_search": True,
        "share": found["train"].count / found["train"].images if "train" in found else share,
        "wrong_labels": {split: one.model_dump() for split, one in found.items()},
    }
    lost = ""
    if "test" in found and facts.test is not None:
        points, low, high = _points_lost(found["test"], facts.test.accuracy)
        evidence |= {"points": points, "points_interval": [low, high]}
        lost = (
            f" No network can answer a wrong test label rightly: for that alone test accuracy reads about "
            f"{percent(points)} too low ({percent(low)} to {percent(high)})."
        )
    return [
        Finding(
            "label_noise",
            "warning",
            f"The search for wrong labels says that {counts} are wrong.{lost}",
            evidence,
            (remedies.mend_data("Look at the suspected labels, and correct those that are wrong."),),
        )
    ]


def _points_lost(wrong: SplitLabels, accuracy: float) -> tuple[float, float, float]:
    """By how much a split's accuracy is below that on its right labels, with a range.

    An image with a wrong label counts as answered wrongly, so the accuracy is (1 - share) times that of the others.
    """
    count, low, high = (
        min(1 - accuracy, accuracy * labels / max(1, wrong.images - labels))
        for labels in (wrong.count, wrong.low, wrong.high)
    )
    return count, low, high


def _in_answers(facts: Facts) -> list[Finding]:
    """Training images are answered worse than validation's, by the same weights, in the end or in some epoch before.

    Every epoch is looked at, since wrong labels are learned by heart after a while.
    """
    train, validation = facts.train, facts.validation
    if train is None or validation is None:
        return []
    chance = chance_of(train, max(2, len(facts.classes)))
    epochs: list[tuple[int | None, float, float]] = [(None, train.accuracy, validation.accuracy)]
    epochs += [one for one in _levels(facts.curves.history) if skill_of(one[1], chance) > MIN_COMPARED_SKILL]
    epoch, trained, heldout = max(epochs, key=lambda one: one[2] - one[1])
    low, high = newcombe_interval(
        (round(heldout * validation.count), validation.count),
        (round(trained * train.count), train.count),
        COMPARISON_CONFIDENCE,
    )
    if low <= 0:
        return []
    when = "" if epoch is None else f" around epoch {epoch}"
    return [
        Finding(
            "label_noise",
            "warning",
            f"The same weights answer {percent(heldout)} of the validation images correctly{when}, but only "
            f"{percent(trained)} of the training images. Normally it is the other way round. That happens when some "
            "training labels are wrong: the network learns what most labels say, and disagrees with the wrong ones.",
            {
                "epoch": epoch,
                "train_accuracy": trained,
                "validation_accuracy": heldout,
                "difference_interval": [low, high],
            },
            (
                remedies.mend_data(
                    "Look at the training images where the model is confident of another class than the label."
                ),
            ),
        )
    ]


def _levels(history: History) -> list[tuple[int | None, float, float]]:
    """For each epoch the level of both accuracies in inference mode, less the noise of single epochs."""
    train, heldout = finite(history.train_accuracy), finite(history.validation_accuracy)
    both = zip(smoothed(train), smoothed(heldout), strict=False)
    return [(epoch, one, other) for epoch, (one, other) in enumerate(both, 1)]
