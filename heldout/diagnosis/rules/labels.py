"""Findings about wrong labels, from a few to so many that the network has memorized noise."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.evaluation import SplitFigures, compute_chance, compute_own_chance, compute_skill
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.history import History, take_finite
from heldout.diagnosis.loss_trend import smooth
from heldout.statistics import compute_newcombe_interval, compute_wilson_interval
from heldout.stored.audit import SplitLabels
from heldout.words import percent

SPLIT_WORDS = {"train": "training", "validation": "validation", "test": "test"}


def find_label_noise(facts: Facts) -> list[Finding]:
    """Report wrong labels that explain the answers to training images."""
    found = [_find_in_labels(facts) if _explains_training(facts) else None, _find_in_answers(facts)]
    return [finding for finding in found if finding is not None]


def find_label_noise_beside_others(facts: Facts) -> Finding | None:
    """Report other wrong labels: in held-out splits, or few compared with another fault of the training."""
    return None if _explains_training(facts) else _find_in_labels(facts)


def _explains_training(facts: Facts) -> bool:
    found = _find_wrong_labels(facts).get("train")
    if found is None:
        return False
    lacking = 0.0 if facts.train is None else 1 - facts.train.accuracy
    return found.low / found.images >= thresholds.MIN_PART_OF_TRAINING * lacking


def _find_wrong_labels(facts: Facts) -> Mapping[str, SplitLabels]:
    """The splits that certainly have wrong labels.

    Empty if the classes of a split are in another order: networks learn those labels too, so all counts are wrong.
    """
    if "label_order_mismatch" in facts.audited:
        return {}
    return {
        split: found
        for split, found in facts.labels.items()
        if found.low >= max(1, thresholds.MIN_WRONG_SHARE * found.images)
    }


def _find_in_labels(facts: Facts) -> Finding | None:
    """Report what the search for wrong labels found, whatever the training."""
    found = _find_wrong_labels(facts)
    if not found:
        return None
    counts = ", ".join(
        f"{percent(labels.count / labels.images)} of the {SPLIT_WORDS[split]} labels ({labels.low:,} to "
        f"{labels.high:,} of {labels.images:,})"
        for split, labels in found.items()
    )
    share = max(labels.count / labels.images for labels in found.values())
    evidence: dict[str, Any] = {
        "by_search": True,
        "share": found["train"].count / found["train"].images if "train" in found else share,
        "wrong_labels": {split: labels.model_dump() for split, labels in found.items()},
    }
    lost = ""
    if "test" in found and facts.test is not None:
        points, low, high = _compute_points_lost(found["test"], facts.test.accuracy)
        evidence |= {"points": points, "points_interval": [low, high]}
        lost = (
            f" No network can answer a wrong test label correctly, so for that reason alone test accuracy reads about "
            f"{percent(points)} too low ({percent(low)} to {percent(high)})."
        )
    return Finding(
        "label_noise",
        "warning",
        f"According to the search for wrong labels, {counts} are wrong.{lost}",
        evidence,
        remedies.suggest_data_fix("Look at the suspected labels, and correct those that are wrong."),
    )


def _compute_points_lost(wrong: SplitLabels, accuracy: float) -> tuple[float, float, float]:
    """How far a split's accuracy is below that with correct labels, with a range.

    An image with a wrong label counts as answered wrongly, so the accuracy is (1 - share) times that of the others.
    """
    count, low, high = (
        min(1 - accuracy, accuracy * labels / max(1, wrong.images - labels))
        for labels in (wrong.count, wrong.low, wrong.high)
    )
    return count, low, high


def _find_in_answers(facts: Facts) -> Finding | None:
    """Report training images that are answered worse than validation images, at the end or in an earlier epoch.

    Every epoch is checked, because wrong labels are memorized after a while.
    """
    train, validation = facts.train, facts.validation
    if train is None or validation is None:
        return None
    chance = compute_chance(train, max(2, len(facts.classes)))
    epochs: list[tuple[int | None, float, float]] = [(None, train.accuracy, validation.accuracy)]
    epochs += [
        level
        for level in _list_levels(facts.curves.history)
        if compute_skill(level[1], chance) > thresholds.MIN_COMPARED_SKILL
    ]
    epoch, trained, heldout = max(epochs, key=lambda level: level[2] - level[1])
    low, high = compute_newcombe_interval(
        (round(heldout * validation.count), validation.count),
        (round(trained * train.count), train.count),
        thresholds.COMPARISON_CONFIDENCE,
    )
    if low <= 0:
        return None
    when = "" if epoch is None else f" around epoch {epoch}"
    return Finding(
        "label_noise",
        "warning",
        f"The same weights answer {percent(heldout)} of the validation images correctly{when}, but only "
        f"{percent(trained)} of the training images. Normally it is the other way around. This happens when some "
        "training labels are wrong: the network learns what most labels say and disagrees with the wrong ones.",
        {
            "epoch": epoch,
            "train_accuracy": trained,
            "validation_accuracy": heldout,
            "difference_interval": [low, high],
        },
        remedies.suggest_data_fix(
            "Look at the training images for which the model is confident of a class other than the label."
        ),
    )


def find_contradicted_labels(facts: Facts) -> Finding | None:
    """Report training labels that a network contradicts where it is surest, although it knows other images like them.

    A hard image makes a network unsure, and one that it has memorized it answers as labeled. So if labels are right,
    the answers of which it is surest hardly ever contradict them, and much less often than other answers do.
    """
    answers = facts.training_answers
    if answers is None or not answers.surest:
        return None
    share, unsure = answers.contradicted / answers.surest, 1 - answers.surest_probability
    low, high = compute_wilson_interval(answers.contradicted, answers.surest)
    wrong = 1 - answers.correct / answers.count
    if not thresholds.MIN_CONTRADICTED <= share <= thresholds.MAX_CONTRADICTED:
        return None
    if low < thresholds.MIN_SURELY_CONTRADICTED:
        return None
    if share < thresholds.MIN_CONTRADICTED_OF_UNSURE * unsure or share < thresholds.MIN_CONTRADICTED_OF_ERRORS * wrong:
        return None
    validation = _estimate_wrong_validation_labels(facts)
    also = ""
    if "validation_share" in validation and facts.test is not None and facts.validation is not None:
        also = (
            f" Test images are answered better than validation images ({percent(facts.test.accuracy)} and "
            f"{percent(facts.validation.accuracy)}). If test labels are right, about "
            f"{percent(validation['validation_share'], 0)} of the validation labels are wrong too."
        )
    when = "The network" if answers.epoch == facts.kept_epoch else f"After epoch {answers.epoch}, the network"
    return Finding(
        "label_noise",
        "warning",
        f"{when} contradicts {percent(share)} of the training labels even where it is surest (the fifth of the images "
        f"with the most probable answers; {percent(wrong)} of all). Hard images make a network unsure, and wrong "
        f"labels do not. So about as many training labels are wrong, or more.{also}",
        {
            "epoch": answers.epoch,
            "share": share,
            "share_interval": [low, high],
            "surest": answers.surest,
            "contradicted": answers.contradicted,
            "sureness": answers.surest_probability,
            **validation,
        },
        remedies.suggest_data_fix(
            "Look at the training images for which the model is confident of a class other than the label."
        ),
    )


def _estimate_wrong_validation_labels(facts: Facts) -> dict[str, Any]:
    """Estimate how many validation labels are wrong if test is surely answered better: they come from the same source.

    A network that answers a share T of images rightly agrees with the share V of labels of which e were replaced at
    random: V = T (1 - e) + (1 - T) e / (classes - 1).
    """
    validation, test, classes = facts.validation, facts.test, len(facts.classes)
    if validation is None or test is None or classes < 2:
        return {}
    if compute_newcombe_interval(test.counts, validation.counts)[0] <= 0:
        return {}
    by_chance = (1 - test.accuracy) / (classes - 1)
    if test.accuracy <= by_chance:
        return {}
    return {"validation_share": min(1.0, (test.accuracy - validation.accuracy) / (test.accuracy - by_chance))}


def _list_levels(history: History) -> list[tuple[int | None, float, float]]:
    """For each epoch, both accuracies in inference mode, smoothed over neighboring epochs."""
    train, heldout = take_finite(history.train_accuracy), take_finite(history.validation_accuracy)
    both = zip(smooth(train), smooth(heldout), strict=False)
    return [(epoch, train_level, validation_level) for epoch, (train_level, validation_level) in enumerate(both, 1)]


def find_memorized_noise(facts: Facts) -> Finding | None:
    train, validation, classes = facts.train, facts.validation, len(facts.classes)
    if train is None or validation is None or classes < 2 or train.count < thresholds.MIN_IMAGES_OF_NOISE * classes:
        return None
    last = [value for value in facts.curves.history.train_accuracy if value is not None]
    known = max([train.accuracy, *last[-1:]])
    low, high = compute_wilson_interval(*validation.counts)
    chance = compute_chance(validation, classes)
    # With random labels the network can only guess, so anything better on new images rules them out, in any epoch.
    if _is_better_than_guessing([validation, *([] if facts.test is None else [facts.test])], classes):
        return None
    if _had_learned(facts.curves.history, validation, classes):
        return None
    if (
        compute_skill(known, compute_chance(train, classes)) < thresholds.MIN_MEMORIZED_SKILL
        or compute_skill(high, chance) > thresholds.MAX_CHANCE_SKILL
    ):
        return None
    has_few_images = train.count < thresholds.MIN_IMAGES_OF_SURE_NOISE * classes
    return Finding(
        "memorised_noise",
        "critical",
        f"Training accuracy reaches {percent(known)}, but validation accuracy is only "
        f"{percent(validation.accuracy)}, and guessing gives {percent(chance)}. The network has memorized the labels. "
        + (
            "Either they have nothing to do with the images, or there are far too few images for so hard a problem."
            if has_few_images
            else "They seem to have nothing to do with the images: check how labels were joined to images."
        ),
        {
            "has_few_images": has_few_images,
            "train_accuracy": known,
            "validation_accuracy": validation.accuracy,
            "validation_interval": [low, high],
            "chance": chance,
        },
        remedies.suggest_data_fix(
            f"Check how labels were joined to images{'' if has_few_images else ': they look shuffled'}."
        ),
    )


def _is_better_than_guessing(splits: Sequence[SplitFigures], classes: int) -> bool:
    count = sum(figures.count for figures in splits)
    chance = sum(figures.count * compute_own_chance(figures, classes) for figures in splits) / count
    return compute_wilson_interval(sum(figures.correct for figures in splits), count)[0] > chance


def _had_learned(history: History, validation: SplitFigures, classes: int) -> bool:
    """Whether the validation loss was once below that of answering every image with the class frequencies.

    Random labels do not let it get there. Real labels do, even where the network soon memorizes too few images.
    """
    counts = [sum(row) for row in validation.confusion if sum(row)] or [1] * classes
    guessing = -sum(count / sum(counts) * math.log(count / sum(counts)) for count in counts)
    lowest = min((value for value in history.validation_loss if value is not None), default=math.inf)
    return lowest < (1 - thresholds.MIN_LOSS_BELOW_GUESSING) * guessing
